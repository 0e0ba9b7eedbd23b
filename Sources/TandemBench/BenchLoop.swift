import TandemCluster
import TandemCore
import TandemPostgres
import TandemTransactions

/// Clients that do the same thing over and over, each its next one when the last has answered.
struct BenchLoop: Sendable {
    let line: CommitBench.Line
    let cluster: Cluster
    let nodes: [NodeName]
    let accounts: Int
    /// Whether it remembers how long each transaction took, which takes memory of its own.
    var keepsLatencies = true

    /// Message pairs that one transaction waits for, one after the other.
    static func roundTrips(_ line: CommitBench.Line) -> Int {
        switch line {
        case .plain, .pgbench, .floor: 1
        case .prepared: 2
        case .textbook: 8
        case .bare, .tandem: 3
        }
    }

    static let update = "UPDATE tandem_bench_account SET balance = balance + $1 WHERE id = $2"

    func run(clients: Int, seconds: Double) async throws -> Measurement {
        let cpu = Measurement.cpuTime()
        let start = ContinuousClock.now
        let end = start + .seconds(seconds)
        var total = Measurement()
        let parts = try await withThrowingTaskGroup(of: Measurement.self) { group in
            for client in 0..<clients {
                let lane = cluster.lanes[client % cluster.lanes.count]
                group.addTask(executorPreference: lane.reactor) { try await self.client(client, lane, until: end) }
            }
            var parts: [Measurement] = []
            for try await part in group { parts.append(part) }
            return parts
        }
        total.seconds = (ContinuousClock.now - start).inSeconds
        total.cpuSeconds = Measurement.cpuTime() - cpu
        for part in parts {
            total.transactions += part.transactions
            total.milliseconds += part.milliseconds
        }
        return total
    }

    @concurrent
    private func client(_ number: Int, _ lane: Lane, until end: ContinuousClock.Instant) async throws -> Measurement {
        let isSingleNode = line == .plain || line == .prepared
        // A single-node loop stays on its node and its connection, as each client of pgbench does.
        guard isSingleNode, let pool = lane.pools[nodes[number % nodes.count]] else { return try await loop(lane, nil, until: end) }
        let connection = try await pool.lease(deadline: .now + Self.patience)
        defer { lane.reactor.execute { pool.release(connection) } }
        return try await loop(lane, connection, until: end)
    }

    @concurrent
    private func loop(_ lane: Lane, _ own: Connection?, until end: ContinuousClock.Instant) async throws -> Measurement {
        var random = FastRandom(seed: .random(in: 1 ... .max))
        var measurement = Measurement()
        if keepsLatencies { measurement.milliseconds.reserveCapacity(20_000) }
        var before = ContinuousClock.now
        // The last transaction of a line that adds and takes in turn is a taking one.
        var owed: (amount: Int, row: Int)?
        while before < end || owed != nil {
            if let own, let debt = owed {
                owed = nil
                try await once(own, debt.amount, debt.row)
            } else if let own {
                let amount = 1 + random.next(100), row = 1 + random.next(accounts)
                owed = (-amount, row)
                try await once(own, amount, row)
            } else {
                let first = random.next(nodes.count)
                let second = nodes.count > 1 ? (first + 1 + random.next(nodes.count - 1)) % nodes.count : first
                try await once(lane, nodes[first], nodes[second], 1 + random.next(100), 1 + random.next(accounts), 1 + random.next(accounts))
            }
            let after = ContinuousClock.now
            measurement.transactions += 1
            if keepsLatencies { measurement.milliseconds.append((after - before).inSeconds * 1000) }
            before = after
        }
        return measurement
    }

    private func statement(_ amount: Int, _ row: Int) -> Statement {
        Statement(Self.update, parameters: ParameterBuffer(texts: [String(amount), String(row)]))
    }

    /// One transaction of a single-node line. What it adds, the next one of the same client takes back, so that the money stays constant.
    private func once(_ connection: Connection, _ amount: Int, _ row: Int) async throws {
        guard line == .prepared else { return try await send(connection, [[statement(amount, row)]]) }
        let gid = "bench-\(UInt64.random(in: 0 ... .max))"
        try await send(connection, [[Statement("BEGIN"), statement(amount, row), Statement("PREPARE TRANSACTION '\(gid)'", isPrepared: false)]])
        try await send(connection, [[Statement("COMMIT PREPARED '\(gid)'", isPrepared: false)]])
    }

    /// One transaction over two nodes.
    private func once(_ lane: Lane, _ first: NodeName, _ second: NodeName, _ amount: Int, _ row: Int, _ other: Int) async throws {
        switch line {
        case .pgbench, .plain, .prepared: break
        case .floor: try await floor(lane, first, second, amount, row, other)
        case .textbook: try await textbook(lane, first, second, amount, row, other)
        case .bare: try await bare(lane, first, second, amount, row, other)
        case .tandem:
            _ = try await cluster.run(
                TransactionRequest([
                    .init(first, SQL(Self.update, parameters: [.text(String(-amount)), .text(String(row))])),
                    .init(second, SQL(Self.update, parameters: [.text(String(amount)), .text(String(other))])),
                ]))
        }
    }

    private func floor(_ lane: Lane, _ first: NodeName, _ second: NodeName, _ amount: Int, _ row: Int, _ other: Int) async throws {
        try await with(lane, first) { one in
            try await with(lane, second) { two in
                let calls = [(connection: one, batch: Batch([statement(-amount, row)])), (connection: two, batch: Batch([statement(amount, other)]))]
                for answer in await Connection.gather(calls, on: lane.reactor, deadline: .now + Self.patience) { try Self.check(answer) }
            }
        }
    }

    private func textbook(_ lane: Lane, _ first: NodeName, _ second: NodeName, _ amount: Int, _ row: Int, _ other: Int) async throws {
        let gid = "bench-\(UInt64.random(in: 0 ... .max))"
        let (a, b, updateA, updateB) = ordered(first, second, amount, row, other)
        try await with(lane, a) { one in
            try await with(lane, b) { two in
                for (connection, update) in zip([one, two], [updateA, updateB]) {
                    try await send(connection, [[Statement("BEGIN")]])
                    try await send(connection, [[update]])
                }
                for (connection, suffix) in zip([one, two], ["a", "b"]) {
                    try await send(connection, [[Statement("PREPARE TRANSACTION '\(gid)\(suffix)'", isPrepared: false)]])
                }
                for (connection, suffix) in zip([one, two], ["a", "b"]) {
                    try await send(connection, [[Statement("COMMIT PREPARED '\(gid)\(suffix)'", isPrepared: false)]])
                }
            }
        }
    }

    /// Both nodes in one order, each with its update: without an order two of these would deadlock over both, as any two-phase commit does.
    private func ordered(
        _ first: NodeName, _ second: NodeName, _ amount: Int, _ row: Int, _ other: Int
    ) -> (NodeName, NodeName, Statement, Statement) {
        let (one, two) = (statement(-amount, row), statement(amount, other))
        return nodes.firstIndex(of: first) ?? 0 < nodes.firstIndex(of: second) ?? 0 ? (first, second, one, two) : (second, first, two, one)
    }

    private func bare(_ lane: Lane, _ first: NodeName, _ second: NodeName, _ amount: Int, _ row: Int, _ other: Int) async throws {
        let gid = "bench-\(UInt64.random(in: 0 ... .max))"
        let (member, commitPoint, one, two) = ordered(first, second, amount, row, other)
        try await with(lane, member) {
            try await send($0, [[Statement("BEGIN"), one, Statement("PREPARE TRANSACTION '\(gid)'", isPrepared: false)]])
        }
        try await with(lane, commitPoint) { try await send($0, [[Statement("BEGIN"), two, Statement("COMMIT")]]) }
        try await with(lane, member) { try await send($0, [[Statement("COMMIT PREPARED '\(gid)'", isPrepared: false)]]) }
    }

    // MARK: Connections

    private static let patience = Duration.seconds(30)

    private func with(_ lane: Lane, _ node: NodeName, _ body: (Connection) async throws -> Void) async throws {
        guard let pool = lane.pools[node] else { return }
        let connection = try await pool.lease(deadline: .now + Self.patience)
        defer { lane.reactor.execute { pool.release(connection) } }
        try await body(connection)
    }

    private func send(_ connection: Connection, _ segments: [[Statement]]) async throws {
        try Self.check(.success(try await connection.run(Batch(segments: segments), deadline: .now + Self.patience)))
    }

    private static func check(_ answer: Result<BatchReply, ConnectionFailure>) throws {
        for segment in try answer.get().segments {
            if let error = segment.error { throw error }
        }
    }
}
