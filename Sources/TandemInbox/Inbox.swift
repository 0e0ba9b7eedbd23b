public import TandemCluster
public import TandemCore
import TandemPostgres
public import TandemTransactions

/// The inbox of a node: what makes that a message which arrives more than once takes effect once.
///
/// A message is received in the transaction of its effects: both are there, or neither.
///
/// ```swift
/// try await cluster["orders"].transaction { branch in
///     guard try await branch.receive(message.id, by: "billing") else { return }     // it was handled before
///     try await branch.execute("INSERT INTO invoice ...")
/// }
/// // now acknowledge it to the broker
/// ```
public struct Inbox: Sendable {
    let cluster: Cluster
    /// The node.
    public let node: NodeName

    /// The inbox of a node. It has the tables when it was initialised with the module ``TandemCluster/SchemaModule/inbox``, as `tandem init` does.
    ///
    /// - Parameters:
    ///   - cluster: whose node it is.
    ///   - node: the node.
    public init(_ cluster: Cluster, on node: NodeName) {
        self.cluster = cluster
        self.node = node
    }

    func result(_ sql: SQL) async throws -> ResultSet {
        do { return try await cluster[node].result(of: sql) } catch let error as TandemError { throw Self.named(error) }
    }

    static func named(_ error: TandemError) -> TandemError {
        switch error.sqlState {
        case .messageTooOld?:
            TandemError(
                .messageTooOld, error.message, effect: error.effect, node: error.node, sqlState: error.sqlState,
                nextStep: "look whether it was handled before it is handled again", phase: error.phase, cause: error)
        case .undefinedFunction?, .undefinedTable?:
            TandemError(
                .notInitialised, "the database has no inbox", effect: error.effect, node: error.node, sqlState: error.sqlState, nextStep: "run `tandem init`",
                cause: error)
        default: error
        }
    }

    // MARK: What waits

    /// What waits in queues, and how many dead letters there are.
    ///
    /// - Returns: one for each queue that is not empty, and each consumer that has dead letters, by name.
    /// - Throws: `notInitialised`; `nodeUnreachable` and kin.
    public func lag() async throws -> [InboxLag] {
        let answer = try await result(
            """
            WITH RECURSIVE queues (queue) AS (
                (SELECT q.queue FROM tandem.inbox_queue q ORDER BY q.queue LIMIT 1)
                UNION ALL
                SELECT (SELECT n.queue FROM tandem.inbox_queue n WHERE n.queue > q.queue ORDER BY n.queue LIMIT 1) FROM queues q WHERE q.queue IS NOT NULL
            ), waiting AS (
                SELECT q.queue AS consumer,
                    (SELECT count(*) FROM (SELECT FROM tandem.inbox_queue w WHERE w.queue = q.queue LIMIT \(InboxLag.mostWaiting)::int) w) AS count,
                    (SELECT w.published_at FROM tandem.inbox_queue w WHERE w.queue = q.queue ORDER BY w.place LIMIT 1) AS since
                FROM queues q WHERE q.queue IS NOT NULL
            ), dead AS (SELECT d.consumer, count(*) AS count FROM tandem.inbox_dead d GROUP BY d.consumer)
            SELECT consumer, coalesce(w.count, 0), extract(epoch FROM greatest(pg_catalog.clock_timestamp() - w.since, '0'))::float8, coalesce(d.count, 0)
            FROM waiting w FULL JOIN dead d USING (consumer) ORDER BY consumer
            """)
        return (0..<answer.rowCount).map { row in
            InboxLag(
                node: node, consumer: answer.text(row, 0) ?? "", waiting: answer.text(row, 1).flatMap { Int($0) } ?? 0,
                seconds: answer.text(row, 2).flatMap { Double($0) } ?? 0, dead: answer.text(row, 3).flatMap { Int($0) } ?? 0)
        }
    }

    // MARK: Dead letters

    /// Messages that were given up.
    ///
    /// - Parameters:
    ///   - consumer: of which consumer or queue; of all by default.
    ///   - limit: how many at most.
    /// - Returns: the messages without their payloads, the oldest first.
    /// - Throws: `notInitialised`; `nodeUnreachable` and kin.
    public func dead(consumer: String? = nil, limit: Int = 100) async throws -> [DeadMessage] {
        let answer = try await result(
            """
            SELECT d.consumer, d.message_id::text, d.reason, d.attempts, d.error, d.source, d.topic, d.key,
                pg_catalog.to_char(d.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
            FROM tandem.inbox_dead d WHERE \(consumer)::text IS NULL OR d.consumer = \(consumer) ORDER BY d.at, d.message_id LIMIT \(limit)::int
            """)
        return (0..<answer.rowCount).map { row in
            DeadMessage(
                node: node, consumer: answer.text(row, 0) ?? "", id: answer.text(row, 1) ?? "", reason: answer.text(row, 2) ?? "",
                attempts: answer.text(row, 3).flatMap { Int($0) } ?? 0, error: answer.text(row, 4), source: answer.text(row, 5), topic: answer.text(row, 6),
                key: answer.text(row, 7), at: answer.text(row, 8) ?? "")
        }
    }

    /// Puts dead letters back into the queue of their consumer, behind all that waits there.
    ///
    /// - Parameters:
    ///   - consumer: of which consumer.
    ///   - ids: which messages.
    /// - Returns: how many.
    /// - Throws: as ``dead(consumer:limit:)`` does.
    @discardableResult
    public func retry(consumer: String, ids: [String]) async throws -> Int {
        try await result(
            """
            INSERT INTO tandem.inbox_queue (queue, id, source, topic, key, headers, content_type, payload)
            SELECT d.consumer, d.message_id, coalesce(d.source, ''), coalesce(d.topic, ''), d.key, d.headers, coalesce(d.content_type, ''), coalesce(d.payload, '')
            FROM unnest(\(ids)::uuid[]) i (id), LATERAL tandem.inbox_take_dead(\(consumer), i.id) d
            """
        ).affectedRows
    }

    /// Drops dead letters: they count as handled.
    ///
    /// - Parameters:
    ///   - consumer: of which consumer.
    ///   - ids: which messages.
    /// - Returns: how many.
    /// - Throws: as ``dead(consumer:limit:)`` does.
    @discardableResult
    public func drop(consumer: String, ids: [String]) async throws -> Int {
        try await result("SELECT d.message_id FROM unnest(\(ids)::uuid[]) i (id), LATERAL tandem.inbox_take_dead(\(consumer), i.id) d").rowCount
    }
}

extension Branch {
    /// Receives a message in this transaction.
    ///
    /// A transaction that is receiving the same message elsewhere is waited for, at most for the node's `lockTimeout`.
    ///
    /// - Parameters:
    ///   - id: the message's id: a UUID, or any text, of which a hash then counts.
    ///   - consumer: who receives it; each consumer receives a message once.
    /// - Returns: whether its effects are to be done, in this transaction; `false` where they were done before.
    /// - Throws: `messageTooOld`; `notInitialised`; what `Branch.query` throws.
    public func receive(_ id: String, by consumer: String) async throws -> Bool {
        do { return try await query("SELECT tandem.receive(\(consumer), \(id)::text)", as: Bool.self).first ?? false } catch let error as TandemError {
            throw Inbox.named(error)
        }
    }
}
