import ArgumentParser
import TandemBench
import TandemCore
import TandemIdempotency

extension Bench {
    /// `tandem bench idempotency`
    struct Idempotency: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "What it costs that an insert happens once, beside the same insert without a key.",
            discussion: "Rounds of all lines in turn, with 1 and with --clients clients. Exit code 3 where a row is missing or was there twice.")

        @OptionGroup var global: GlobalOptions

        @Option(help: "Clients of the second load.")
        var clients = 32

        @Option(help: "Seconds of each line in a round.")
        var seconds = 2

        @Option(help: "Rounds.")
        var rounds = 5

        func validate() throws {
            guard (2...1000).contains(clients) else { throw ValidationError("--clients takes a number from 2 to 1000.") }
            guard (1...600).contains(seconds) else { throw ValidationError("--seconds takes a number from 1 to 600.") }
            guard (1...100).contains(rounds) else { throw ValidationError("--rounds takes a number from 1 to 100.") }
        }

        mutating func run() async throws {
            let (clients, seconds, rounds) = (clients, seconds, rounds)
            let result = try await BenchNodes.with(global, count: 1, modules: [.idempotency]) { configuration, _ in
                try await IdempotencyBench(configuration, clients: [1, clients], seconds: Double(seconds), rounds: rounds) { Talk.say($0) }.run()
            }
            if global.format == .json {
                try Output.write(text: BenchOutput.json(result))
            } else {
                var table = TextTable("CLIENTS", "LINE", "A SECOND", "TO PLAIN")
                for load in result.loads {
                    for line in IdempotencyBench.Line.allCases {
                        table.add(
                            String(load.clients), line.rawValue, BenchOutput.text(load.per_second[line.rawValue] ?? 0, 0),
                            BenchOutput.text(load.to_plain[line.rawValue] ?? 0, 2))
                    }
                }
                try Output.write(table)
                if !result.isSound { Talk.say("rows are NOT exact") }
            }
            if !result.isSound { throw Ending(.problemFound) }
        }
    }
}
