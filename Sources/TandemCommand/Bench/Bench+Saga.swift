import ArgumentParser
import TandemBench
import TandemCore
import TandemSagas

extension Bench {
    /// `tandem bench saga`
    struct Saga: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "How many sagas of three steps on three nodes end in a second.",
            discussion: "A saga counts once its end is durable, its start included. Exit code 3 where an effect is missing or was there twice.")

        @OptionGroup var global: GlobalOptions

        @Option(help: "Sagas at a time.")
        var clients = 32

        @Option(help: "Seconds to measure.")
        var seconds = 20

        @Option(help: "Run as many sagas, however long that takes.")
        var sagas: Int?

        func validate() throws {
            guard (1...1000).contains(clients) else { throw ValidationError("--clients takes a number from 1 to 1000.") }
            guard (1...3600).contains(seconds) else { throw ValidationError("--seconds takes a number from 1 to 3600.") }
            guard (1...10_000_000).contains(sagas ?? 1) else { throw ValidationError("--sagas takes a number from 1 to 10000000.") }
        }

        mutating func run() async throws {
            var options = SagaBench.Options()
            (options.clients, options.seconds, options.sagas) = (clients, seconds, sagas)
            let chosen = options
            let result = try await BenchNodes.with(global, count: 3, modules: [.sagas]) { configuration, _ in
                try await SagaBench(configuration, options: chosen) { Talk.say($0) }.run()
            }
            if global.format == .json {
                try Output.write(text: BenchOutput.json(result))
            } else {
                try Output.write(
                    text: """
                        \(BenchOutput.text(result.per_second, 0)) sagas a second: \(BenchOutput.text(result.p50_ms, 1)) ms at the median, \
                        \(BenchOutput.text(result.p99_ms, 1)) ms at 99 %; \(BenchOutput.text(result.commits, 2)) commits and \
                        \(BenchOutput.text(result.cpu_us, 0)) µs of this process a saga, \(BenchOutput.text(result.peak_rss_mib, 0)) MiB at most
                        \(result.sagas) sagas, each effect \(result.effects_are_exact ? "exactly once" : "NOT EXACTLY ONCE")
                        """)
            }
            if !result.isSound { throw Ending(.problemFound) }
        }
    }
}
