import ArgumentParser
import TandemBench
import TandemCore

extension Bench {
    /// `tandem bench deadlock`
    struct Deadlock: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "How soon deadlocks over two nodes are ended, and whether anything else is taken for one.",
            discussion: """
                Makes deadlocks on purpose; then all clients update one row in one order, in which nobody may be made to give way; then it counts what looking costs \
                while nobody waits. Exit code 3 where a deadlock was not found, somebody gave way in vain, or more than one statement a node and second was sent.
                """)

        @OptionGroup var global: GlobalOptions

        @Option(help: "Deadlocks to make.")
        var cycles = 200

        @Option(help: "Seconds in which all clients update one row.")
        var seconds = 60

        @Option(help: "Clients that do.")
        var clients = 32

        func validate() throws {
            guard (1...10_000).contains(cycles) else { throw ValidationError("--cycles takes a number from 1 to 10000.") }
            guard (1...3600).contains(seconds) else { throw ValidationError("--seconds takes a number from 1 to 3600.") }
            guard (2...1000).contains(clients) else { throw ValidationError("--clients takes a number from 2 to 1000.") }
        }

        mutating func run() async throws {
            var options = DeadlockBench.Options()
            (options.cycles, options.seconds, options.clients) = (cycles, seconds, clients)
            let chosen = options
            let result = try await BenchNodes.with(global, count: 2) { configuration, _ in
                try await DeadlockBench(configuration, options: chosen) { Talk.say($0) }.run()
            }
            if global.format == .json {
                try Output.write(text: BenchOutput.json(result))
            } else {
                try Output.write(
                    text: """
                        \(result.found) of \(result.cycles) deadlocks ended: \(BenchOutput.text(result.p50_ms, 0)) ms at the median, \
                        \(BenchOutput.text(result.p99_ms, 0)) ms at 99 %, \(BenchOutput.text(result.max_ms, 0)) ms at most
                        \(result.contended) transactions on one row, \(result.false_victims) made to give way
                        \(BenchOutput.text(result.probes, 2)) statements a node and second while nobody waits
                        """)
            }
            if !result.isSound { throw Ending(.problemFound) }
        }
    }
}
