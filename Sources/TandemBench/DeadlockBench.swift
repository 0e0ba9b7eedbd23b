package import TandemCluster
import TandemCore
import TandemPostgres
import TandemTransactions

/// `tandem bench deadlock`: how soon a deadlock over two nodes is ended, whether anybody is made to give way who waits and is in none, and what looking for
/// them costs while nobody waits.
package struct DeadlockBench: Sendable {
    /// What was measured.
    package struct Result: Sendable, Codable {
        /// Deadlocks that were made, and how many of them ended with 40P01 for one of both and a commit of the other.
        package let cycles: Int
        package var found = 0
        /// From the moment that the second of both asked for its second row until the victim's error.
        package var p50_ms = 0.0
        package var p99_ms = 0.0
        package var max_ms = 0.0
        /// Transactions of clients that all want one row in one order, and how many of them were made to give way.
        package var contended = 0
        package var false_victims = 0
        /// Statements a node and second that looked for deadlocks while nobody waited.
        package var probes = 0.0

        /// Whether every deadlock was found, nothing else was taken for one, and looking cost no more than it may.
        package var isSound: Bool { found == cycles && false_victims == 0 && probes <= 1.05 }
    }

    /// How it is measured.
    package struct Options: Sendable {
        package var cycles = 200
        /// Deadlocks at a time.
        package var width = 8
        /// Seconds in which all clients update one row.
        package var seconds = 60
        package var clients = 32
        /// Seconds in which nobody does anything.
        package var idleSeconds = 10

        package init() {}
    }

    private static let patience = Duration.seconds(60)

    private let configuration: ClusterConfiguration
    private let options: Options
    private let progress: @Sendable (String) -> Void

    /// - Parameters:
    ///   - configuration: at least two initialised nodes, on which a table `tandem_bench_account` is made anew.
    ///   - options: how it is measured.
    ///   - progress: told what is being done.
    package init(_ configuration: ClusterConfiguration, options: Options, progress: @escaping @Sendable (String) -> Void) {
        var configuration = configuration.sized(for: max(options.clients, 2 * options.width))
        // What is measured ends the waits, and nothing else.
        for index in configuration.nodes.indices { configuration.nodes[index].lockTimeout = Self.patience }
        self.configuration = configuration
        self.options = options
        self.progress = progress
    }

    /// - Returns: what was measured.
    /// - Throws: what a transaction throws that is neither a victim nor committed.
    package func run() async throws -> Result {
        let cluster = try Cluster(configuration)
        defer { cluster.close() }
        let nodes = configuration.nodes.prefix(2).map(\.name)
        let accounts = BenchAccounts(cluster: cluster, nodes: configuration.nodes.map(\.name), count: 2 * options.cycles)
        try await accounts.create()
        let options = options, progress = progress
        let result = try await withThrowingTaskGroup(of: Result?.self) { group in
            group.addTask {
                try await cluster.run()
                return nil
            }
            group.addTask {
                var result = Result(cycles: options.cycles)
                progress("\(options.cycles) deadlocks, \(options.width) at a time")
                try await measure(cluster, nodes, &result)
                progress("\(options.clients) clients on one row for \(options.seconds) s")
                (result.contended, result.false_victims) = try await contend(cluster, nodes)
                progress("nobody waits for \(options.idleSeconds) s")
                let before = cluster.deadlockProbes, start = ContinuousClock.now
                try await Task.sleep(for: .seconds(options.idleSeconds))
                result.probes = Double(cluster.deadlockProbes - before) / Double(cluster.configuration.nodes.count) / (ContinuousClock.now - start).inSeconds
                return result
            }
            defer { group.cancelAll() }
            while let next = try await group.next() {
                if let next { return next }
            }
            throw CancellationError()
        }
        try await accounts.drop()
        return result
    }

    // MARK: Deadlocks

    private func measure(_ cluster: Cluster, _ nodes: [NodeName], _ result: inout Result) async throws {
        var latencies = Measurement()
        try await withThrowingTaskGroup(of: Double?.self) { group in
            var next = 0
            func add() {
                guard next < options.cycles else { return }
                let number = next
                next += 1
                group.addTask { try await deadlock(number, cluster, nodes) }
            }
            for _ in 0..<options.width { add() }
            while let milliseconds = try await group.next() {
                if let milliseconds {
                    result.found += 1
                    latencies.milliseconds.append(milliseconds)
                }
                add()
            }
        }
        (result.p50_ms, result.p99_ms) = (latencies.percentile(0.5), latencies.percentile(0.99))
        result.max_ms = latencies.milliseconds.max() ?? 0
    }

    /// Two transactions that each hold a row which the other one wants.
    ///
    /// - Returns: how long the victim waited for its error, in milliseconds; nil where it did not end with one victim and one commit.
    private func deadlock(_ number: Int, _ cluster: Cluster, _ nodes: [NodeName]) async throws -> Double? {
        let meeting = Meeting(2), (one, two) = ((nodes[0], 2 * number + 1), (nodes[1], 2 * number + 2))
        async let first = half(cluster, one, two, meeting), second = half(cluster, two, one, meeting)
        let ends = try await [first, second]
        let victims = ends.compactMap(\.victim)
        // Both had asked for their second row when the later of them had.
        guard victims.count == 1, let asked = ends.map(\.asked).max() else { return nil }
        return (victims[0] - asked).inSeconds * 1000
    }

    /// When a transaction asked for its second row, and when it was told that it is the victim.
    private func half(
        _ cluster: Cluster, _ held: (NodeName, Int), _ wanted: (NodeName, Int), _ meeting: Meeting
    ) async throws -> (asked: ContinuousClock.Instant, victim: ContinuousClock.Instant?) {
        var options = TransactionOptions()
        options.timeout = Self.patience
        let asked = Moment()
        do {
            _ = try await cluster.transaction(options) { transaction in
                try await transaction[held.0].execute(Self.update(held.1), rows: 1...1)
                await meeting.arrive()
                asked.note()
                try await transaction[wanted.0].execute(Self.update(wanted.1), rows: 1...1)
            }
            return (asked.instant, nil)
        } catch let error as TandemError where error.code == .deadlock {
            return (asked.instant, .now)
        }
    }

    private static func update(_ row: Int) -> SQL { "UPDATE tandem_bench_account SET balance = balance + 0 WHERE id = \(row)" }

    // MARK: No deadlock

    /// All clients want the same rows in the same order.
    private func contend(_ cluster: Cluster, _ nodes: [NodeName]) async throws -> (transactions: Int, victims: Int) {
        let end = ContinuousClock.now + .seconds(options.seconds)
        return try await withThrowingTaskGroup(of: (Int, Int).self) { group in
            for client in 0..<options.clients {
                group.addTask(executorPreference: cluster.executor(ofClient: client)) {
                    var count = 0, victims = 0
                    while ContinuousClock.now < end {
                        do {
                            _ = try await cluster.transaction { transaction in
                                for node in nodes { try await transaction[node].execute(Self.update(1), rows: 1...1) }
                            }
                            count += 1
                        } catch let error as TandemError where error.code == .deadlock { victims += 1 }
                    }
                    return (count, victims)
                }
            }
            return try await group.reduce(into: (0, 0)) { ($0.0, $0.1) = ($0.0 + $1.0, $0.1 + $1.1) }
        }
    }
}

/// When something happened, told by one task and read by another one after it.
private final class Moment: Sendable {
    private let time = Locked<ContinuousClock.Instant?>(nil)

    func note() { time.withLock { $0 = .now } }
    var instant: ContinuousClock.Instant { time.withLock { $0 } ?? .now }
}

/// Lets tasks go on once so many have come.
private actor Meeting {
    private var missing: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(_ count: Int) { missing = count }

    func arrive() async {
        missing -= 1
        if missing > 0 { return await withCheckedContinuation { waiting.append($0) } }
        for continuation in waiting { continuation.resume() }
        waiting = []
    }
}
