package import TandemCluster
import TandemCore
import TandemPostgres
import TandemSagas
import TandemTransactions

/// `tandem bench saga`: sagas of three steps on three nodes, from their start until their end is durable.
package struct SagaBench: Sendable {
    /// What was measured.
    package struct Result: Sendable, Codable {
        package let clients: Int
        /// Sagas whose end was durable in the measured time, starts included.
        package var sagas = 0
        package var seconds = 0.0
        package var per_second = 0.0
        package var p50_ms = 0.0
        package var p99_ms = 0.0
        /// User and system time of this process for one saga.
        package var cpu_us = 0.0
        package var peak_rss_mib = 0.0
        /// Commits of all nodes for one saga, as the servers count them.
        package var commits = 0.0
        /// Whether each saga has each effect once, and none has another.
        package var effects_are_exact = false

        /// Whether the figures count.
        package var isSound: Bool { effects_are_exact && sagas > 0 }
    }

    /// How it is measured.
    package struct Options: Sendable {
        package var clients = 32
        package var seconds = 20
        /// As many sagas, however long that takes; `nil` for the seconds.
        package var sagas: Int?

        package init() {}
    }

    private static let items = 1000, patience = Duration.seconds(60)

    private let configuration: ClusterConfiguration
    private let options: Options
    private let progress: @Sendable (String) -> Void

    /// - Parameters:
    ///   - configuration: at least three nodes with the tables of sagas, on which the tables `tandem_bench_...` are made anew.
    ///   - options: how it is measured.
    ///   - progress: told what is being done.
    package init(_ configuration: ClusterConfiguration, options: Options, progress: @escaping @Sendable (String) -> Void) {
        self.configuration = configuration.sized(for: options.clients)
        self.options = options
        self.progress = progress
    }

    /// Measures.
    ///
    /// - Returns: the result; look at ``Result/isSound`` first.
    /// - Throws: the first error that is not a saga's own.
    package func run() async throws -> Result {
        let cluster = try Cluster(configuration)
        defer { cluster.close() }
        let nodes = configuration.nodes.prefix(3).map(\.name)
        try await create(cluster, nodes)
        try await cluster.fillPools()
        var sagaOptions = SagaOptions()
        sagaOptions.concurrency = options.clients
        let sagas = try Sagas(cluster, options: sagaOptions), definition = definition(nodes)
        var result = Result(clients: options.clients)
        let options = options, progress = progress
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await sagas.run() }
            progress("warming up")
            let warm = try await load(sagas, definition, cluster, .now + .seconds(2), count: nil)
            progress(options.sagas.map { "\($0) sagas, \(options.clients) at a time" } ?? "\(options.clients) sagas at a time for \(options.seconds) s")
            let commits = try await self.commits(cluster, nodes)
            let measured = try await load(
                sagas, definition, cluster, .now + .seconds(options.sagas == nil ? options.seconds : 24 * 3600), count: options.sagas)
            result.sagas = measured.transactions
            result.seconds = measured.seconds
            result.per_second = measured.perSecond
            result.p50_ms = measured.percentile(0.5)
            result.p99_ms = measured.percentile(0.99)
            result.cpu_us = measured.cpuMicroseconds
            result.peak_rss_mib = Measurement.peakMemory()
            result.commits = Double(try await self.commits(cluster, nodes) - commits) / Double(max(1, measured.transactions))
            progress("counting effects")
            result.effects_are_exact = try await isExact(cluster, nodes, measured.transactions + warm.transactions)
            group.cancelAll()
        }
        for (node, table) in zip(nodes, ["order", "stock", "payment"]) { try await cluster[node].execute("DROP TABLE \(identifier: "tandem_bench_\(table)")") }
        return result
    }

    private func definition(_ nodes: [NodeName]) -> SagaDefinition {
        SagaDefinition(
            "tandem_bench", version: 1,
            steps: [
                .init(
                    "order",
                    .sql(
                        nodes[0],
                        [.init("INSERT INTO tandem_bench_order (saga, item, amount) VALUES (:saga_id, :input.item, :input.amount) RETURNING id")]),
                    undo: .sql([.init("DELETE FROM tandem_bench_order WHERE saga = :saga_id")])),
                .init(
                    "stock",
                    .sql(nodes[1], [.init("UPDATE tandem_bench_stock SET taken = taken + :input.amount WHERE item = :input.item", expectedRows: 1...1)]),
                    undo: .sql([.init("UPDATE tandem_bench_stock SET taken = taken - :input.amount WHERE item = :input.item")])),
                .init(
                    "payment",
                    .sql(
                        nodes[2],
                        [.init("INSERT INTO tandem_bench_payment (saga, order_id, amount) VALUES (:saga_id, :order.id, :input.amount)")]),
                    undo: .sql([.init("DELETE FROM tandem_bench_payment WHERE saga = :saga_id")])),
            ])
    }

    private func create(_ cluster: Cluster, _ nodes: [NodeName]) async throws {
        for (node, table) in zip(nodes, ["order", "stock", "payment"]) {
            try await cluster[node].execute("DROP TABLE IF EXISTS \(identifier: "tandem_bench_\(table)")")
        }
        try await cluster[nodes[0]].execute(
            "CREATE TABLE tandem_bench_order (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, saga uuid NOT NULL, item int, amount int)")
        try await cluster[nodes[1]].execute("CREATE TABLE tandem_bench_stock (item int PRIMARY KEY, taken bigint NOT NULL) WITH (fillfactor = 50)")
        try await cluster[nodes[1]].execute("INSERT INTO tandem_bench_stock SELECT i, 0 FROM generate_series(1, \(Self.items)::int) i")
        // No key: an effect that happened twice is seen as such.
        try await cluster[nodes[2]].execute("CREATE TABLE tandem_bench_payment (saga uuid NOT NULL, order_id bigint NOT NULL, amount int)")
    }

    private func load(
        _ sagas: Sagas, _ definition: SagaDefinition, _ cluster: Cluster, _ end: ContinuousClock.Instant, count: Int?
    ) async throws -> Measurement {
        let left = Locked(count ?? .max), cpu = Measurement.cpuTime(), start = ContinuousClock.now
        let parts = try await withThrowingTaskGroup(of: Measurement.self) { group in
            for client in 0..<options.clients {
                group.addTask(executorPreference: cluster.executor(ofClient: client)) {
                    var random = FastRandom(seed: .random(in: 1 ... .max)), part = Measurement()
                    while ContinuousClock.now < end,
                        left.withLock({ left in
                            left -= 1
                            return left >= 0
                        })
                    {
                        let before = ContinuousClock.now
                        let input = "{\"item\":\(1 + random.next(Self.items)),\"amount\":\(1 + random.next(9))}"
                        let (id, state) = try await sagas.performed(definition, input, nil)
                        if state != .completed, try await sagas.end(of: id, within: Self.patience).state != .completed {
                            throw TandemError(.protocolViolation, "the saga \(id) is not completed")
                        }
                        part.transactions += 1
                        part.milliseconds.append((ContinuousClock.now - before).inSeconds * 1000)
                    }
                    return part
                }
            }
            var parts: [Measurement] = []
            for try await part in group { parts.append(part) }
            return parts
        }
        var total = Measurement()
        for part in parts { total.add(part) }
        total.seconds = (ContinuousClock.now - start).inSeconds
        total.cpuSeconds = Measurement.cpuTime() - cpu
        return total
    }

    private func commits(_ cluster: Cluster, _ nodes: [NodeName]) async throws -> Int {
        var sum = 0
        for node in nodes {
            // A backend reports what it has done when it has been idle for a moment, at the latest after a second.
            let text: SQL = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
            sum += try await cluster[node].query(text, as: Int.self).first ?? 0
        }
        return sum
    }

    /// Whether each saga has one order, one payment of the same amount, and nothing else was taken.
    private func isExact(_ cluster: Cluster, _ nodes: [NodeName], _ count: Int) async throws -> Bool {
        let ended = try await cluster[nodes[0]].query("SELECT count(*) FROM tandem.saga WHERE name = 'tandem_bench' AND state = 'completed'", as: Int.self)
        let orders = try await cluster[nodes[0]].query(
            "SELECT count(*), count(DISTINCT saga), coalesce(sum(amount), 0)::int8 FROM tandem_bench_order", as: Int.self, Int.self, Int.self)
        let stock = try await cluster[nodes[1]].query("SELECT sum(taken)::int8 FROM tandem_bench_stock", as: Int.self)
        let payments = try await cluster[nodes[2]].query(
            "SELECT count(*), count(DISTINCT (saga, order_id)), coalesce(sum(amount), 0)::int8 FROM tandem_bench_payment", as: Int.self, Int.self, Int.self)
        guard let order = orders.first, let payment = payments.first else { return false }
        return order == (count, count, order.2) && payment == (count, count, order.2) && stock == [order.2] && ended == [count]
    }
}
