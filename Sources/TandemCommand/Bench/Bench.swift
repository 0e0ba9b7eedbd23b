import ArgumentParser
import Foundation
import TandemBench
import TandemCluster
import TandemConfiguration
import TandemCore
import TandemLocal

/// `tandem bench`
struct Bench: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Measure Tandem beside what it cannot exceed and what it competes with.",
        discussion: """
            Without -c it starts three local nodes of its own, with fsync on, and removes them. Machines drift: quote ratios of one run.
            Exit code 3 means that something was lost, and that no figure counts.
            """,
        subcommands: [Commit.self, Deadlock.self, Driver.self, Lines.self, Recovery.self, Saga.self, Idempotency.self, Outbox.self, OutboxReader.self])

    /// `tandem bench commit`
    struct Commit: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(abstract: "Global transactions a second, and the ratios to their limits.")

        @OptionGroup var global: GlobalOptions

        @Option(help: "Clients that each run one transaction after the other.")
        var clients = 32

        @Option(help: "Seconds a line and round.")
        var seconds = 5

        @Option(help: "Nodes, where it starts its own.")
        var nodes = 3

        @Option(name: .customLong("line"), help: "Only this line; may be given again. Ratios need both of their lines.")
        var lines: [CommitBench.Line] = []

        @Option(help: ArgumentHelp("Run only `tandem`, for so many seconds, with recovery and a retention of a minute beside it.", valueName: "seconds"))
        var soak: Int?

        func validate() throws {
            if let soak, !(1...86_400).contains(soak) { throw ValidationError("--soak takes a number from 1 to 86400.") }
            guard (1...1000).contains(clients) else { throw ValidationError("--clients takes a number from 1 to 1000.") }
            guard (1...3600).contains(seconds) else { throw ValidationError("--seconds takes a number from 1 to 3600.") }
            guard (2...16).contains(nodes) else { throw ValidationError("--nodes takes a number from 2 to 16.") }
        }

        mutating func run() async throws {
            if let soak { return try await run(soak: soak) }
            var options = CommitBench.Options()
            options.clients = clients
            options.seconds = Double(seconds)
            if !lines.isEmpty { options.lines = CommitBench.Line.allCases.filter(lines.contains) }
            let chosen = options
            let isJSON = global.format == .json
            let result = try await BenchNodes.with(global, count: nodes) { configuration, pgbench in
                try await CommitBench(configuration, options: chosen, pgbenchPath: pgbench) { Talk.say($0) }.run()
            }
            if isJSON { try Output.write(text: BenchOutput.json(result)) } else { try write(result) }
            if !result.isSound { throw Ending(.problemFound) }
        }

        private func run(soak seconds: Int) async throws {
            let clients = clients
            let result = try await BenchNodes.with(global, count: nodes) { configuration, _ in
                try await SoakBench(configuration, clients: clients, seconds: seconds) { Talk.say($0) }.run()
            }
            if global.format == .json {
                try Output.write(text: BenchOutput.json(result))
            } else {
                var table = TextTable("SECONDS", "PER SECOND", "MEMORY MIB", "REGISTER MIB")
                for sample in result.samples {
                    table.add(
                        BenchOutput.text(sample.seconds, 0), BenchOutput.text(sample.tps, 0), BenchOutput.text(sample.rss_mib, 1),
                        BenchOutput.text(sample.register_mib, 1))
                }
                try Output.write(table)
                try Output.write(
                    text: """
                        last to second minute \(BenchOutput.text(result.last_to_second, 2)); memory \(BenchOutput.text(result.rss_growth * 100, 1)) % up after \
                        the first; register at most \(BenchOutput.text(result.register_max_mib, 0)) MiB; money \
                        \(result.money_is_constant ? "constant" : "NOT CONSTANT"), \(result.prepared_after) prepared afterwards
                        """)
            }
            if !result.isSound { throw Ending(.problemFound) }
        }

        private func write(_ result: CommitBench.Result) throws {
            var table = TextTable("LINE", "PER SECOND", "P50 MS", "P99 MS", "CPU US", "ROUND TRIPS")
            for line in CommitBench.Line.allCases {
                guard let measured = result.lines[line.rawValue] else { continue }
                table.add(
                    line.rawValue, BenchOutput.text(measured.tps, 0), BenchOutput.text(measured.p50_ms, 2), BenchOutput.text(measured.p99_ms, 2),
                    BenchOutput.text(measured.cpu_us, 0), String(measured.round_trips))
            }
            try Output.write(table)
            var ratios = TextTable("RATIO", "MEDIAN", "MINIMUM", "MAXIMUM")
            for (name, ratio) in result.ratios.sorted(by: { $0.key < $1.key }) {
                ratios.add(name, BenchOutput.text(ratio.median, 2), BenchOutput.text(ratio.minimum, 2), BenchOutput.text(ratio.maximum, 2))
            }
            try Output.write(ratios)
            try Output.write(
                text: """
                    limit \(BenchOutput.text(result.limit_tps, 0)) a second; peak memory \(BenchOutput.text(result.peak_rss_mib, 0)) MiB, \
                    \(result.connections) connections; money \(result.money_is_constant ? "constant" : "NOT CONSTANT"), \
                    \(result.prepared_after) prepared afterwards
                    """)
        }
    }

    /// `tandem bench driver`
    struct Driver: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(abstract: "Rows and bulk data through the driver, beside a plain loop over libpq and psql.")

        @OptionGroup var global: GlobalOptions

        @Option(help: "Rows that each line reads or writes a round.")
        var rows = 300_000

        func validate() throws {
            guard (10_000...10_000_000).contains(rows) else { throw ValidationError("--rows takes a number from 10000 to 10000000.") }
        }

        mutating func run() async throws {
            let rows = rows, psql = await PostgresPrograms.psql()
            let result = try await BenchNodes.with(global, count: 1) { configuration, _ in
                try await DriverBench(configuration, rows: rows, psqlPath: psql) { Talk.say($0) }.run()
            }
            if global.format == .json { return try Output.write(text: BenchOutput.json(result)) }
            var table = TextTable("LINE", "ROWS A SECOND", "BASELINE", "RATIO", "MINIMUM", "MAXIMUM")
            for (name, line) in result.lines.sorted(by: { $0.key < $1.key }) {
                table.add(
                    name, BenchOutput.text(line.rows_per_second, 0), BenchOutput.text(line.baseline_per_second, 0), BenchOutput.text(line.ratio.median, 2),
                    BenchOutput.text(line.ratio.minimum, 2), BenchOutput.text(line.ratio.maximum, 2))
            }
            try Output.write(table)
        }
    }

    /// `tandem bench lines`
    struct Lines: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(abstract: "Results a second of `tandem tx run --jsonl`, beside the transactions of `bench commit`.")

        @OptionGroup var global: GlobalOptions

        @Option(help: "Transactions that run at a time.")
        var clients = 32

        @Option(help: "Seconds a side and round, about.")
        var seconds = 5

        func validate() throws {
            guard (1...1000).contains(clients) else { throw ValidationError("--clients takes a number from 1 to 1000.") }
            guard (2...3600).contains(seconds) else { throw ValidationError("--seconds takes a number from 2 to 3600.") }
        }

        mutating func run() async throws {
            let clients = clients, seconds = seconds
            let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
            let result = try await BenchNodes.with(global, count: 3) { configuration, _ in
                try await LinesBench(configuration, clients: clients, seconds: seconds, program: program) { Talk.say($0) }.run()
            }
            if global.format == .json {
                try Output.write(text: BenchOutput.json(result))
            } else {
                try Output.write(
                    text: """
                        \(BenchOutput.text(result.lines_per_second, 0)) results a second, \(BenchOutput.text(result.tandem_per_second, 0)) transactions of the bench: \
                        \(BenchOutput.text(result.ratio.median, 2)) (\(BenchOutput.text(result.ratio.minimum, 2)) to \
                        \(BenchOutput.text(result.ratio.maximum, 2))); \(result.not_committed) not committed; money \
                        \(result.money_is_constant ? "constant" : "NOT CONSTANT"), \(result.prepared_after) prepared afterwards
                        """)
            }
            if !result.isSound { throw Ending(.problemFound) }
        }
    }

    /// `tandem bench recovery`
    struct Recovery: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(abstract: "How fast recovery settles what dead coordinators left behind.")

        @OptionGroup var global: GlobalOptions

        @Option(help: "Transactions to leave in doubt.")
        var transactions = 1000

        func validate() throws {
            guard (2...1000).contains(transactions) else { throw ValidationError("--transactions takes a number from 2 to 1000.") }
        }

        mutating func run() async throws {
            let count = transactions
            let result = try await BenchNodes.with(global, count: 3) { configuration, _ in
                try await RecoveryBench(configuration, transactions: count) { Talk.say($0) }.run()
            }
            if global.format == .json {
                try Output.write(text: BenchOutput.json(result))
            } else {
                try Output.write(
                    text: """
                        \(result.settled) settled in \(BenchOutput.text(result.seconds, 2)) s: \(result.committed) committed, \
                        \(result.rolled_back) rolled back, \(result.prepared_after) still prepared
                        """)
            }
            if !result.isSound { throw Ending(.problemFound) }
        }
    }
}

extension CommitBench.Line: ExpressibleByArgument {}

/// The nodes that a benchmark runs on: the configuration's, or local ones that end with it.
enum BenchNodes {
    static func with<Value: Sendable>(
        _ global: GlobalOptions, count: Int, modules: [SchemaModule] = [], _ body: @escaping @Sendable (ClusterConfiguration, String?) async throws -> Value
    ) async throws -> Value {
        if global.config != nil {
            let configuration = try global.configuration()
            return try await Interruption.cancelling("interrupted") { try await body(configuration, await PostgresPrograms.pgbench()) }
        }
        // On a disk, not in memory: what is measured is durable.
        let folder = "/var/tmp/tandem-bench-\(UUID().uuidString.prefix(8))"
        return try await Interruption.cancelling("stopping the nodes") {
            Talk.say("starting \(count) nodes in \(folder)")
            let local = try await LocalCluster.start(LocalClusterOptions(directory: folder, nodeCount: count))
            do {
                let configuration = try ClusterConfiguration(
                    "bench", nodes: local.nodes.map { NodeConfiguration($0.name, conninfo: $0.socketConninfo) })
                _ = try await Initialiser(configuration, modules: modules).run()
                let value = try await body(configuration, await PostgresPrograms.pgbench())
                try await remove(local, folder)
                return value
            } catch {
                try? await remove(local, folder)
                throw error
            }
        }
    }

    private static func remove(_ local: LocalCluster, _ folder: String) async throws {
        try await local.stop()
        try await LocalCluster.reset(directory: folder)
        if FileManager.default.fileExists(atPath: folder) { try FileManager.default.removeItem(atPath: folder) }
    }
}

/// Figures as JSON and in tables.
enum BenchOutput {
    static func json(_ value: some Encodable) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }

    static func text(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }
}
