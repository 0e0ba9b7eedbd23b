public import TandemCluster
public import TandemCore
import TandemPostgres
import TandemTransactions

/// The outbox of a node, for those who look after it.
///
/// Publishing is a function of the transaction's branch: ``TandemTransactions/Branch/publish(topic:key:payload:headers:id:notBefore:)``, and `tandem.publish` in SQL; sending is an
/// ``OutboxRelay``.
public struct Outbox: Sendable {
    let cluster: Cluster
    /// The node.
    public let node: NodeName

    /// The outbox of a node. It has the tables when it was initialised with the module ``TandemCluster/SchemaModule/outbox``, as `tandem init` does.
    ///
    /// - Parameters:
    ///   - cluster: whose node it is.
    ///   - node: the node.
    public init(_ cluster: Cluster, on node: NodeName) {
        self.cluster = cluster
        self.node = node
    }

    /// How long housekeeping publishes what is due, at a time.
    private static let longestPublishing = Duration.seconds(5)

    func result(_ sql: SQL, within time: Duration = Node.patience) async throws -> ResultSet {
        do { return try await cluster[node].result(of: sql, timeout: time) } catch let error as TandemError { throw OutboxError.named(error) }
    }

    // MARK: Looking

    /// How far each sink is behind. Nothing is counted: events are numbers that were taken, those of transactions that were rolled back included.
    ///
    /// - Returns: the sinks, by name.
    /// - Throws: `notInitialised`; `nodeUnreachable` and kin.
    public func lag() async throws -> [OutboxLag] {
        let answer = try await result(
            """
            SELECT l.sink, l.events, extract(epoch FROM l.behind)::float8, l.shares, l.led, l.holder,
                (SELECT count(*) FROM tandem.outbox_parked p WHERE p.sink = l.sink AND p.state = 'parked'),
                (SELECT count(*) FROM tandem.outbox_parked p WHERE p.sink = l.sink AND p.state = 'dead')
            FROM tandem.outbox_lag() l ORDER BY l.sink
            """)
        return (0..<answer.rowCount).map { row in
            OutboxLag(
                node: node, sink: answer.text(row, 0) ?? "", events: answer.text(row, 1).flatMap { Int($0) } ?? 0,
                seconds: answer.text(row, 2).flatMap { Double($0) } ?? 0, shares: answer.text(row, 3).flatMap { Int($0) } ?? 1,
                led: answer.text(row, 4).flatMap { Int($0) } ?? 0, relay: answer.text(row, 5), parked: answer.text(row, 6).flatMap { Int($0) } ?? 0,
                dead: answer.text(row, 7).flatMap { Int($0) } ?? 0)
        }
    }

    /// Events that sinks have refused, and those that wait behind them, in order.
    ///
    /// - Parameters:
    ///   - sink: of which sink; of all by default.
    ///   - limit: how many at most.
    /// - Returns: the events without their payloads.
    /// - Throws: as ``lag()`` does.
    public func parked(sink: String? = nil, limit: Int = 100) async throws -> [ParkedEvent] {
        let answer = try await result(
            """
            SELECT p.sink, p.id::text, p.topic, p.key, p.state, p.attempts, p.error, pg_catalog.to_char(p.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
                CASE WHEN isfinite(p.due_at) THEN pg_catalog.to_char(p.due_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') END
            FROM tandem.outbox_parked p WHERE \(sink)::text IS NULL OR p.sink = \(sink) ORDER BY p.sink, p.seq LIMIT \(limit)::int
            """)
        return (0..<answer.rowCount).map { row in
            ParkedEvent(
                node: node, sink: answer.text(row, 0) ?? "", id: answer.text(row, 1) ?? "", topic: answer.text(row, 2) ?? "", key: answer.text(row, 3),
                state: ParkedEvent.State(rawValue: answer.text(row, 4) ?? "") ?? .parked, attempts: answer.text(row, 5).flatMap { Int($0) } ?? 0,
                error: answer.text(row, 6), publishedAt: answer.text(row, 7) ?? "", dueAt: answer.text(row, 8))
        }
    }

    // MARK: Deciding

    /// Lets events that were set aside be tried again at once, with all attempts: those of keys in their order, dead letters behind what was sent meanwhile.
    ///
    /// - Parameters:
    ///   - sink: of which sink.
    ///   - ids: which events; all of the sink by default.
    /// - Returns: how many.
    /// - Throws: as ``lag()`` does.
    @discardableResult
    public func retry(sink: String, ids: [String]? = nil) async throws -> Int {
        try await result(
            """
            UPDATE tandem.outbox_parked SET state = 'parked', attempts = 0, due_at = pg_catalog.clock_timestamp()
            WHERE sink = \(sink) AND (\(ids == nil)::bool OR id = ANY (\(ids ?? [])::uuid[]))
            """
        ).affectedRows
    }

    /// Drops events that were set aside: the sink never gets them, and the later ones of their keys flow.
    ///
    /// - Parameters:
    ///   - sink: of which sink.
    ///   - ids: which events.
    /// - Returns: how many.
    /// - Throws: as ``lag()`` does.
    @discardableResult
    public func drop(sink: String, ids: [String]) async throws -> Int {
        try await result("DELETE FROM tandem.outbox_parked WHERE sink = \(sink) AND id = ANY (\(ids)::uuid[])").affectedRows
    }

    /// Sends a sink everything again that was committed since about then: duplicates, also in the queue of an inbox. A handler that receives them knows them by their ids.
    ///
    /// - Parameters:
    ///   - sink: the sink.
    ///   - age: since how long ago; the begin is at most ten seconds or so before.
    /// - Returns: since when, as RFC 3339 in UTC.
    /// - Throws: `notFound` where events of that time are not kept any more, or there is no such sink.
    public func replay(sink: String, since age: Duration) async throws -> String {
        let answer = try await result(
            """
            SELECT pg_catalog.to_char(tandem.outbox_replay(\(sink), NULL::int2, pg_catalog.clock_timestamp() - \(age.wholeMilliseconds)::int8 * interval '1 ms')
                AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
            """)
        guard let since = answer.text(0, 0) else { throw TandemError(.notFound, "the outbox has no sink \(sink)", node: node) }
        return since
    }

    /// Goes on after a restore from a dump, into another server or the same: events behind a number are sent, to every sink; the others are removed. Nobody may publish meanwhile.
    ///
    /// - Parameter sequence: the last number that is not sent; 0 sends all that is there.
    /// - Returns: how many will be sent.
    /// - Throws: as ``lag()`` does.
    public func rebase(from sequence: Int64) async throws -> Int {
        try await result("SELECT tandem.outbox_rebase(\(sequence)::int8)", within: .seconds(3600)).text(0, 0).flatMap { Int($0) } ?? 0
    }

    /// Forgets a sink, with what it has refused: as long as it is known, everything that it has not got is kept.
    ///
    /// - Parameter sink: the sink's name.
    /// - Returns: whether there was one.
    /// - Throws: as ``lag()`` does.
    @discardableResult
    public func remove(sink: String) async throws -> Bool { try await result("SELECT tandem.outbox_remove_sink(\(sink))").text(0, 0) == "t" }

    // MARK: Keeping house

    /// Empties a part of the ring whose events every sink has, publishes what has become due, and forgets old positions.
    ///
    /// - Returns: how the ring stands.
    /// - Throws: as ``lag()`` does.
    public func keepHouse() async throws -> OutboxRing {
        let answer = try await result("SELECT r.emptied, r.entered, r.free, pg_catalog.array_to_json(r.blocked_by)::text FROM tandem.outbox_rotate() r")
        _ = try await result("SELECT tandem.outbox_trim()")
        // What becomes due all the time has its next turn soon; the ring and what is told of it have theirs now.
        let end = ContinuousClock.now + Self.longestPublishing
        while try await result("SELECT tandem.outbox_publish_due(1000)").text(0, 0) != "0", ContinuousClock.now < end { try Task.checkCancellation() }
        var blockers: [String] = []
        if let text = answer.text(0, 3), case .array(let values)? = try? JSON(reading: text) {
            for case .string(let blocker) in values { blockers.append(blocker) }
        }
        return OutboxRing(node: node, free: answer.text(0, 2).flatMap { Int($0) }, blockers: blockers)
    }
}
