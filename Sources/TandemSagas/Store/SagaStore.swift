import TandemCluster
import TandemCore
import TandemPostgres
import TandemTransactions

/// The home node's tables of sagas.
///
/// Whatever belongs to a saga is written only under its epoch: who has lost it changes nothing. Each write may be sent again where its answer was lost.
final class SagaStore: Sendable {
    /// Another worker has the saga, or an operator has changed it.
    struct Fenced: Error {}

    /// How long a step's node is asked for what must be known.
    static let patience = Duration.seconds(10)
    private static let backoff = Backoff(base: .milliseconds(50), cap: .seconds(1))

    let node: Node
    let owner: String
    let lease: Duration
    /// How long one statement may take.
    let patience: Duration
    let telemetry: Telemetry
    private let starts: GroupCommit<SagaStart, (id: SagaID, isNew: Bool)>
    private let ends: GroupCommit<SagaEnding, Bool>
    private let known = Locked<[String: String]>([:])
    private let isChecked = Locked(false)

    /// - Parameters:
    ///   - node: the home node.
    ///   - owner: what this process calls itself.
    ///   - lease: how long a saga belongs to a worker that does not extend it.
    ///   - patience: how long one statement may take.
    ///   - telemetry: is told.
    init(_ node: Node, owner: String, lease: Duration, patience: Duration, telemetry: Telemetry) {
        self.node = node
        self.owner = owner
        self.lease = lease
        self.patience = patience
        self.telemetry = telemetry
        starts = GroupCommit { try await Self.insert($0, node, lease, patience) }
        ends = GroupCommit { try await Self.end($0, node, patience) }
    }

    /// Whether the home node has the tables; asked once.
    func check() async throws {
        if isChecked.withLock({ $0 }) { return }
        let module = SchemaModule.sagas
        let answer: ResultSet
        do {
            answer = try await node.result(of: "SELECT max(version), max(needs) FROM tandem.module WHERE name = \(module.name)", timeout: patience)
        } catch let error as TandemError where error.sqlState == .undefinedTable {
            throw TandemError(.notInitialised, "the database has no tables of the module \(module.name)", node: node.name, nextStep: "run `tandem init`")
        }
        let (version, needs) = (answer.text(0, 0).flatMap { Int($0) }, answer.text(0, 1).flatMap { Int($0) })
        if let mismatch = module.mismatch(version: version, leastProgram: needs ?? 0, node: node.name) { throw mismatch }
        isChecked.withLock { $0 = true }
    }

    // MARK: Definitions

    /// Stores a definition where it is not known yet.
    ///
    /// - Parameters:
    ///   - body: its text, by which it is known.
    ///   - name: its name.
    ///   - version: its version.
    ///   - isCode: whether only a program that has it can run it.
    /// - Returns: its hash, in hexadecimal digits.
    /// - Throws: `nodeUnreachable` and kin, or `inDoubt`: it may be sent again.
    func register(_ body: String, name: String, version: Int, isCode: Bool) async throws -> String {
        if let hash = known.withLock({ $0[body] }) { return hash }
        try await check()
        let result = try await node.result(
            of: """
                WITH stored AS (
                    INSERT INTO tandem.saga_definition (hash, name, version, is_code, body)
                    SELECT pg_catalog.sha256(pg_catalog.convert_to(\(body), 'UTF8')), \(name), \(version)::int, \(isCode)::bool, \(body)
                    ON CONFLICT DO NOTHING)
                SELECT pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(\(body), 'UTF8')), 'hex')
                """, timeout: patience)
        guard let hash = result.text(0, 0) else { throw TandemError(.protocolViolation, "the server sent no hash", node: node.name) }
        known.withLock { $0[body] = hash }
        return hash
    }

    /// The text of a definition.
    func definition(_ hash: String) async throws -> String? {
        try await node.result(of: "SELECT body FROM tandem.saga_definition WHERE hash = pg_catalog.decode(\(hash), 'hex')", timeout: patience).only
    }

    // MARK: Begin and end

    /// Starts a saga, unless its id or its key is there already.
    ///
    /// - Parameter start: what it is.
    /// - Returns: its id, or the one that has its key.
    /// - Throws: `nodeUnreachable` and kin, or `inDoubt`: it may be sent again under the same id.
    func start(_ start: SagaStart) async throws -> (id: SagaID, isNew: Bool) { try await starts.submit(start) }

    private static func insert(_ all: [SagaStart], _ node: Node, _ lease: Duration, _ patience: Duration) async throws -> [(id: SagaID, isNew: Bool)] {
        // In one order of keys: two who write the same ones do not wait for each other in a circle.
        let order = all.indices.sorted { (all[$0].name, all[$0].key ?? "") < (all[$1].name, all[$1].key ?? "") }
        let answers = try await insert(ordered: order.map { all[$0] }, node, lease, patience)
        var result = all.map { (id: $0.id, isNew: true) }
        for (place, index) in order.enumerated() { result[index] = answers[place] }
        return result
    }

    private static func insert(ordered starts: [SagaStart], _ node: Node, _ lease: Duration, _ patience: Duration) async throws -> [(id: SagaID, isNew: Bool)] {
        let ids = starts.map(\.id.description), names = starts.map(\.name), keys = starts.map(\.key)
        let inserted = try await node.result(
            of: """
                INSERT INTO tandem.saga (id, name, definition, is_code, key, input, epoch, owner, due_at, deadline_at)
                SELECT i.id::uuid, i.name, pg_catalog.decode(i.definition, 'hex'), i.is_code::bool, i.key, i.input::json,
                    CASE WHEN i.owner IS NULL THEN 0 ELSE 1 END, i.owner,
                    pg_catalog.clock_timestamp() + CASE WHEN i.owner IS NULL THEN interval '0' ELSE \(lease.milliseconds)::int8 * interval '1 ms' END,
                    pg_catalog.clock_timestamp() + i.deadline::int8 * interval '1 ms'
                FROM unnest(\(ids)::text[], \(names)::text[], \(starts.map(\.definition))::text[], \(starts.map { $0.isCode ? "t" : "f" })::text[], \(keys)::text[],
                    \(starts.map(\.input))::text[], \(starts.map(\.owner))::text[], \(starts.map { $0.deadline.map { String($0.milliseconds) } })::text[])
                    AS i (id, name, definition, is_code, key, input, owner, deadline)
                ON CONFLICT DO NOTHING RETURNING id
                """, timeout: patience)
        let new = Set((0..<inserted.rowCount).compactMap { inserted.text($0, 0) })
        if new.count == starts.count { return starts.map { ($0.id, true) } }
        let present = try await node.result(
            of: """
                SELECT s.id, s.name, s.key FROM tandem.saga s WHERE s.id = ANY (\(ids)::uuid[])
                UNION SELECT s.id, s.name, s.key FROM tandem.saga s JOIN unnest(\(names)::text[], \(keys)::text[]) AS i (name, key) USING (name, key)
                """, timeout: patience)
        var own: Set<SagaID> = [], byKey: [String: SagaID] = [:]
        for row in 0..<present.rowCount {
            guard let id = present.text(row, 0).flatMap({ SagaID($0) }), let name = present.text(row, 1) else { continue }
            own.insert(id)
            if let key = present.text(row, 2) { byKey["\(name)\u{0}\(key)"] = id }
        }
        return try starts.map { start in
            if new.contains(start.id.description) { return (start.id, true) }
            if let key = start.key, let id = byKey["\(start.name)\u{0}\(key)"] { return (id, id == start.id) }
            // Sent before, and its answer was lost.
            guard own.contains(start.id) else {
                throw TandemError(.notFound, "the saga with this key has just been removed", node: node.name, nextStep: "start it again")
            }
            return (start.id, true)
        }
    }

    /// Writes how a saga ended, or where it is stuck.
    func end(_ ending: SagaEnding) async throws {
        guard try await definitely({ try await self.ends.submit(ending) }) else { throw Fenced() }
    }

    /// Makes it certain that a saga ends so, while something is left to be done for it: it stays this worker's, and then anybody's, until ``close(_:)``.
    func settle(_ ending: SagaEnding) async throws {
        let written = try await definitely {
            try await self.node.result(
                of: """
                    UPDATE tandem.saga SET state = \(ending.state), output = \(ending.output)::json, course = \(ending.course)::json,
                        error = CASE WHEN \(ending.state) <> 'completed' THEN coalesce(\(ending.error)::json, error) END,
                        due_at = pg_catalog.clock_timestamp() + \(self.lease.milliseconds)::int8 * interval '1 ms'
                    WHERE id = \(ending.id.description)::uuid AND epoch = \(ending.epoch)::int8 RETURNING id
                    """, timeout: patience)
        }
        if written.rowCount == 0 { throw Fenced() }
    }

    /// Ends a saga of which it is certain how.
    func close(_ saga: SagaRecord) async throws {
        let written = try await definitely {
            try await self.node.result(
                of: """
                    UPDATE tandem.saga SET owner = NULL, due_at = NULL, waits_for = NULL, ended_at = pg_catalog.clock_timestamp()
                    WHERE id = \(saga.id.description)::uuid AND epoch = \(saga.epoch)::int8 RETURNING id
                    """, timeout: patience)
        }
        if written.rowCount == 0 { throw Fenced() }
    }

    private static func end(_ endings: [SagaEnding], _ node: Node, _ patience: Duration) async throws -> [Bool] {
        let result = try await node.result(
            of: """
                UPDATE tandem.saga s SET state = i.state, output = i.output::json,
                    error = CASE WHEN i.state <> 'completed' THEN coalesce(i.error::json, s.error) END, course = i.course::json, owner = NULL, due_at = NULL,
                    waits_for = NULL, ended_at = CASE WHEN i.is_end = 't' THEN pg_catalog.clock_timestamp() END
                FROM unnest(\(endings.map(\.id.description))::text[], \(endings.map { String($0.epoch) })::text[], \(endings.map(\.state))::text[],
                    \(endings.map(\.output))::text[], \(endings.map(\.error))::text[], \(endings.map(\.course))::text[],
                    \(endings.map { $0.isEnd ? "t" : "f" })::text[]) AS i (id, epoch, state, output, error, course, is_end)
                WHERE s.id = i.id::uuid AND s.epoch = i.epoch::int8 RETURNING s.id
                """, timeout: patience)
        let written = Set((0..<result.rowCount).compactMap { result.text($0, 0) })
        return endings.map { written.contains($0.id.description) }
    }

    /// Sends a write until its answer is known: nobody else goes on with the saga while the home node is down.
    ///
    /// - Parameters:
    ///   - limit: how long, where it is for a step's node: whoever else has work there or not must not wait for it. `nil` for the home node.
    ///   - write: the statement.
    /// - Returns: its answer.
    /// - Throws: what the statement throws for good, or when the time is over; `CancellationError`.
    func definitely<Value>(within limit: Duration? = nil, _ write: () async throws -> Value) async throws -> Value {
        let deadline = limit.map { ContinuousClock.now + $0 }
        var attempt = 0
        while true {
            do { return try await write() } catch let error as TandemError where error.isRetrySafe || error.code == .inDoubt || error.isOfConnection {
                if let deadline, ContinuousClock.now >= deadline { throw error }
                try await Task.sleep(for: Self.backoff.delay(attempt: attempt, random: .random(in: 0..<1)) + .milliseconds(5))
                attempt += 1
            }
        }
    }
}

extension TandemPostgres.ResultSet {
    /// The only value of the only row.
    var only: String? { rowCount > 0 ? text(0, 0) : nil }
}

extension Duration {
    /// Whole milliseconds.
    var milliseconds: Int64 { wholeMilliseconds }
}
