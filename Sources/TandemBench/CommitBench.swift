package import TandemCluster
import TandemCore
import TandemPostgres

/// `tandem bench commit`: how fast global transactions are, beside what they cannot exceed and what they compete with.
///
/// All lines run in turn, several rounds, on the same nodes and tables; ratios are taken within a round, since machines drift.
package struct CommitBench: Sendable {
    /// What to measure, and how long.
    package struct Options: Sendable {
        package var clients = 32
        package var seconds = 5.0
        package var rounds = 3
        package var warmUp = 1.0
        /// Rows of the account table on each node.
        package var accounts = 100_000
        /// The lines to run; all by default.
        package var lines = Line.allCases

        package init() {}
    }

    /// What is compared.
    package enum Line: String, CaseIterable, Sendable, Codable {
        /// One node: UPDATE and its COMMIT, one message.
        case plain
        /// One node: UPDATE, PREPARE, COMMIT PREPARED.
        case prepared
        /// The server's own client with the same UPDATE.
        case pgbench
        /// Two nodes, two plain commits at the same time: fast and not atomic.
        case floor
        /// Two nodes, every statement its own round trip, node after node, no decision record.
        case textbook
        /// Two nodes, the messages of `tandem` without mark, row, permits and everything else that makes them recoverable: what the register and the
        /// engine cost is the distance to this line.
        case bare
        /// Two nodes, as Tandem does it.
        case tandem
    }

    /// One line of the result.
    package struct LineResult: Sendable, Codable {
        package let tps: Double
        package let p50_ms: Double
        package let p99_ms: Double
        package let cpu_us: Double
        package let round_trips: Int
    }

    /// A ratio of two lines: the median of the rounds, and how far they spread.
    package struct Ratio: Sendable, Codable {
        package let median: Double
        package let minimum: Double
        package let maximum: Double

        init(_ values: [Double]) {
            median = values.median
            minimum = values.min() ?? 0
            maximum = values.max() ?? 0
        }
    }

    /// Everything that was measured.
    package struct Result: Sendable, Codable {
        package let clients: Int
        package let nodes: Int
        package let rounds: Int
        package var lines: [String: LineResult] = [:]
        package var limit_tps = 0.0
        package var ratios: [String: Ratio] = [:]
        package var peak_rss_mib = 0.0
        package var connections = 0
        package var money_is_constant = false
        package var prepared_after = 0

        /// Whether nothing was lost: otherwise no figure counts.
        package var isSound: Bool { money_is_constant && prepared_after == 0 }
    }

    private let options: Options
    private let configuration: ClusterConfiguration
    private let pgbench: Pgbench?
    private let progress: @Sendable (String) -> Void

    /// - Parameters:
    ///   - configuration: initialised nodes, on which a table `tandem_bench_account` is made anew.
    ///   - options: what to measure.
    ///   - pgbenchPath: the server's `pgbench`, or `nil` to leave that line out.
    ///   - progress: told what is being done.
    package init(
        _ configuration: ClusterConfiguration, options: Options, pgbenchPath: String?, progress: @escaping @Sendable (String) -> Void
    ) {
        self.configuration = configuration.sized(for: options.clients)
        self.options = options
        self.progress = progress
        pgbench = pgbenchPath.map { Pgbench(path: $0, accounts: options.accounts) }
    }

    /// Measures.
    ///
    /// - Returns: the result; look at ``Result/isSound`` first.
    /// - Throws: the first error that is not a transaction's own.
    package func run() async throws -> Result {
        let cluster = try Cluster(configuration)
        defer { cluster.close() }
        let nodes = configuration.nodes.map(\.name)
        progress("filling \(options.accounts) accounts on each of \(nodes.count) nodes")
        let accounts = BenchAccounts(cluster: cluster, nodes: nodes, count: options.accounts)
        try await accounts.create()
        let before = try await accounts.total()
        try await cluster.fillPools()
        var rounds: [[Line: Measurement]] = []
        for line in options.lines where line != .pgbench {
            progress("warming up: \(line.rawValue)")
            _ = try await BenchLoop(line: line, cluster: cluster, nodes: nodes, accounts: options.accounts).run(
                clients: options.clients, seconds: options.warmUp)
        }
        for round in 0..<options.rounds {
            progress("round \(round + 1) of \(options.rounds)")
            rounds.append(try await measureRound(cluster, nodes))
        }
        var result = Result(clients: options.clients, nodes: nodes.count, rounds: options.rounds)
        result.peak_rss_mib = Measurement.peakMemory()
        result.connections = await cluster.openConnections()
        summarise(rounds, &result)
        result.money_is_constant = try await accounts.total() == before
        result.prepared_after = try await accounts.prepared()
        try await accounts.drop()
        return result
    }

    /// One round: every line in slices of a second, in turn, so that a machine that slows down slows all of them.
    private func measureRound(_ cluster: Cluster, _ nodes: [NodeName]) async throws -> [Line: Measurement] {
        var measured: [Line: Measurement] = [:]
        var left = options.seconds
        while left > 0 {
            let slice = min(1, left)
            left -= slice
            for line in options.lines {
                guard let part = try await measure(line, cluster, nodes, seconds: slice) else { continue }
                measured[line, default: Measurement()].add(part)
            }
        }
        return measured
    }

    private func measure(_ line: Line, _ cluster: Cluster, _ nodes: [NodeName], seconds: Double) async throws -> Measurement? {
        if line == .pgbench { return try await pgbench?.run(configuration.nodes, clients: options.clients, seconds: max(1, seconds.rounded())) }
        return try await BenchLoop(line: line, cluster: cluster, nodes: nodes, accounts: options.accounts).run(clients: options.clients, seconds: seconds)
    }

    private func summarise(_ rounds: [[Line: Measurement]], _ result: inout Result) {
        for line in options.lines {
            let all = rounds.compactMap { $0[line] }
            guard !all.isEmpty else { continue }
            result.lines[line.rawValue] = LineResult(
                tps: all.map(\.perSecond).median, p50_ms: all.map { $0.percentile(0.5) }.median, p99_ms: all.map { $0.percentile(0.99) }.median,
                cpu_us: all.map(\.cpuMicroseconds).median, round_trips: BenchLoop.roundTrips(line))
        }
        func ratio(_ name: String, _ value: ([Line: Measurement]) -> Double?) {
            let values = rounds.compactMap(value)
            if !values.isEmpty { result.ratios[name] = Ratio(values) }
        }
        func tps(_ round: [Line: Measurement], _ line: Line) -> Double? {
            guard let value = round[line]?.perSecond, value > 0 else { return nil }
            return value
        }
        func limit(_ round: [Line: Measurement]) -> Double? {
            guard let plain = tps(round, .plain), let prepared = tps(round, .prepared) else { return nil }
            return 1 / (1 / plain + 1 / prepared)
        }
        result.limit_tps = rounds.compactMap(limit).median
        func quotient(_ a: Double?, _ b: Double?) -> Double? { if let a, let b { a / b } else { nil } }
        ratio("to_limit") { quotient(tps($0, .tandem), limit($0)) }
        ratio("to_floor") { quotient(tps($0, .tandem), tps($0, .floor)) }
        ratio("to_textbook") { quotient(tps($0, .tandem), tps($0, .textbook)) }
        ratio("to_bare") { quotient(tps($0, .tandem), tps($0, .bare)) }
        ratio("bare_to_limit") { quotient(tps($0, .bare), limit($0)) }
        ratio("plain_to_pgbench") { quotient(tps($0, .plain), tps($0, .pgbench)) }
    }
}
