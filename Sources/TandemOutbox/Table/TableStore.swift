import TandemCluster
import TandemCore
import TandemMessaging
import TandemPostgres
import TandemTransactions

/// What a relay asks of a table of another outbox.
///
/// A batch is one transaction: take the turn, claim, read, (hand to the sink,) mark, commit. Before the first batch, and before the first after a failure, marking is tried and taken
/// back: rows that cannot be marked would be sent again and again.
struct TableStore: Sendable {
    /// The most bytes of an event: all of it must fit into one answer.
    static let largest = ResultLimit.payloads
    /// The most rows of a batch, for the same reason.
    static let mostRows = 5000
    /// The most rows that are counted.
    private static let mostCounted = 100_001

    let node: Node
    let table: OutboxTable
    let shape: TableShape
    /// `/CLUSTER/NODE`
    let source: String
    let sink: String

    /// Looks whether the table is what is said of it.
    ///
    /// - Throws: `configurationInvalid`, `notPermitted`; `nodeUnreachable` and kin.
    static func open(_ table: OutboxTable, on node: NodeName, of cluster: Cluster, sink: String) async throws -> TableStore {
        var options = TransactionOptions()
        options.isReadOnly = true
        let shape = try await cluster[node].transaction(options) { branch in try await TableInspection(table: table, branch: branch).shape() }
        return TableStore(node: cluster[node], table: table, shape: shape, source: "/\(cluster.configuration.name)/\(node)", sink: sink)
    }

    // MARK: Pieces of statements

    private var name: SQL { "\(identifier: table.schema, table.name)" }
    private var id: SQL { column(table.columns.id) }
    private var aggregate: SQL { column(table.columns.aggregate) }
    /// What rows are in order by, before their ids.
    private var place: SQL { column(shape.order ?? table.columns.id) }
    private var order: SQL { shape.order == nil ? id : "\(sql: place), \(sql: id)" }

    private func column(_ name: String) -> SQL { "\(identifier: "o", name)" }

    /// A status as a literal without a type: it becomes one of the column's, an enum's too, and a partial index is seen to fit, whatever plan is kept.
    private func literal(_ status: String) throws -> SQL {
        let text = try quoteLiteral(status)
        return "\(unsafe: text)"
    }

    private func has(_ status: String) throws -> SQL {
        let word = try literal(status)
        return "\(sql: column(table.columns.status)) = \(sql: word)"
    }

    /// What gives rows a status, and the time.
    private func status(_ status: String) throws -> SQL {
        let word = try literal(status), set: SQL = "\(identifier: table.columns.status) = \(sql: word)"
        guard let processed = table.columns.processed, let clock = shape.processed else { return set }
        return "\(sql: set), \(identifier: processed) = \(sql: clock.now)"
    }

    /// What leaves out what waits; nothing where nothing does.
    private func but(_ held: TableHolds.Held) -> SQL {
        var condition: SQL = ""
        if !held.keys.isEmpty { condition = " AND (\(sql: aggregate) IS NULL OR \(sql: aggregate)::text <> ALL (\(held.keys)::text[]))" }
        if !held.ids.isEmpty { condition = "\(sql: condition) AND \(sql: id)::text <> ALL (\(held.ids)::text[])" }
        return condition
    }

    /// How many bytes a row would travel with.
    private var size: SQL {
        let data = column(table.columns.data)
        let body: SQL = shape.data == .bytes ? "pg_catalog.octet_length(\(sql: data))" : "pg_catalog.octet_length(\(sql: data)::text)"
        guard let headers = table.columns.headers else { return "coalesce(\(sql: body), 0)" }
        return "coalesce(\(sql: body), 0) + coalesce(pg_catalog.octet_length(\(sql: column(headers))::text), 0)"
    }

    /// The event's id: the same however often it is sent, since it depends on the row's id only.
    private var eventID: SQL {
        // As `tandem.message_id` makes them: the form of a UUIDv8. With the time when the row was written, since numbers come again after a TRUNCATE or a restore.
        let place = "\(source) \(table.title) "
        let stamp: SQL = table.columns.created.map { name -> SQL in " || coalesce(' ' || extract(epoch FROM \(sql: column(name)))::text, '')" } ?? ""
        let hash: SQL = """
            overlay(overlay(pg_catalog.substr(
                pg_catalog.encode(pg_catalog.sha256(pg_catalog.convert_to(\(place)::text || \(sql: id)::text\(sql: stamp), 'UTF8')), 'hex'), 1, 32)
                PLACING '8' FROM 13 FOR 1) PLACING '8' FROM 17 FOR 1)::uuid::text
            """
        switch shape.id {
        case .uuid: return "\(sql: id)::text"
        case .number: return hash
        case .text:
            return """
                CASE WHEN \(sql: id)::text ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN pg_catalog.lower(\(sql: id)::text) ELSE \(sql: hash) END
                """
        }
    }

    /// When the event was written, as a timestamp in UTC. What is no time of a calendar is the time when it is sent.
    private var time: SQL {
        guard let created = table.columns.created, let clock = shape.created else { return TableShape.Clock.plain.now }
        let at = column(created), own: SQL = "CASE WHEN pg_catalog.isfinite(\(sql: at)) THEN \(sql: at) ELSE \(sql: clock.now) END"
        return clock == .zoned ? "(\(sql: own)) AT TIME ZONE 'UTC'" : own
    }

    // MARK: One batch

    /// Takes the turn of the table for this transaction.
    ///
    /// - Parameters:
    ///   - branch: the transaction.
    ///   - lease: how long it may lie idle: then the server ends it, and with it the turn of a relay that has stopped.
    /// - Returns: the node's time in microseconds; `nil` where another relay has the turn.
    /// - Throws: `TandemError`.
    func takeTurn(_ branch: Branch, for lease: Duration) async throws -> Int64? {
        // Compiling a statement takes longer than running it.
        var settings = [("idle_in_transaction_session_timeout", "\(lease.wholeMilliseconds)"), ("jit", "off")]
        // Statistics lag behind a backlog that grows, and all of it would be sorted for each batch: 1.2 s instead of 30 ms at 200,000 rows.
        if shape.isIndexed { settings += ["enable_seqscan", "enable_bitmapscan", "enable_sort"].map { ($0, "off") } }
        let turn = "tandem.outbox_table \(table.title)"
        var calls: SQL = "''"
        for (name, value) in settings { calls = "\(sql: calls), pg_catalog.set_config(\(name), \(value), true)" }
        let answer = try await branch.query(
            """
            SELECT pg_catalog.concat(\(sql: calls)),
                CASE WHEN pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtextextended(\(turn), 0))
                    THEN (extract(epoch FROM pg_catalog.clock_timestamp()) * 1000000)::int8 END
            """, as: String.self, Int64?.self)
        return answer.first?.1
    }

    /// Locks what comes next, and tells what before it is not ours.
    ///
    /// The order of observations. `ahead` and `locked` see one snapshot S. Let r be locked and in `ahead`. A row p of r's aggregate that comes before r by its place, and had committed
    /// before r was inserted, is visible in S, since r is. Either S does not show it as pending: then it was sent, or given up. Or it is in `ahead`, which is the beginning of the
    /// pending rows that have an aggregate, with none left out but whole aggregates. Then it is in `locked`, and goes before r in the same batch; or it is not: somebody else has it, or has
    /// just ended it, and ``TableChoice`` leaves r alone. So one relay at a time is no condition of the order: any number may claim, and programs that know nothing of Tandem too.
    ///
    /// - Parameters:
    ///   - branch: the transaction.
    ///   - limit: how many at most.
    ///   - held: what waits.
    /// - Returns: the rows in order; those that are not locked are there for their aggregates.
    /// - Throws: `TandemError`.
    func claim(_ branch: Branch, most limit: Int, but held: TableHolds.Held) async throws -> [TableRow] {
        let pending = try has(table.pending), condition: SQL = "\(sql: pending)\(sql: but(held))"
        let columns: SQL = "\(sql: id) AS id, \(sql: aggregate)::text AS key, \(sql: place) AS place"
        let rows = try await branch.query(
            """
            WITH ahead AS MATERIALIZED (
                SELECT \(sql: columns) FROM \(sql: name) o WHERE \(sql: condition) AND \(sql: aggregate) IS NOT NULL ORDER BY \(sql: order) LIMIT \(limit)::int
            ), locked AS MATERIALIZED (
                SELECT \(sql: columns), \(sql: size) AS bytes, \(sql: column(table.columns.type)) IS NOT NULL AS is_typed FROM \(sql: name) o
                WHERE \(sql: condition) ORDER BY \(sql: order) LIMIT \(limit)::int FOR UPDATE OF o SKIP LOCKED
            )
            SELECT coalesce(l.id, a.id)::text, coalesce(l.key, a.key), l.bytes, l.is_typed, coalesce(a.key = l.key, false)
            FROM ahead a FULL JOIN locked l ON l.id = a.id ORDER BY coalesce(l.place, a.place), coalesce(l.id, a.id)
            """, as: String.self, String?.self, Int?.self, Bool?.self, Bool.self)
        return rows.map { id, key, bytes, isTyped, isAhead in TableRow(id: id, key: key, bytes: bytes, isTyped: isTyped ?? false, isAhead: isAhead) }
    }

    /// Sees whether rows can be marked: a trigger, a constraint or a missing right may be in the way.
    ///
    /// - Parameters:
    ///   - rows: rows that this transaction has locked.
    ///   - branch: the transaction.
    /// - Throws: `TandemError`.
    func tryMarking(_ rows: [TableRow], on branch: Branch) async throws {
        // Each from the state that rows have, as it would be.
        for state in [table.sent] + (table.failed.map { [$0] } ?? []) {
            struct Undone: Error {}
            do {
                try await branch.savepoint { branch -> Void in
                    try await write(try status(state), to: rows.map(\.id), on: branch)
                    // What is checked at the commit only, too.
                    try await branch.execute("SET CONSTRAINTS ALL IMMEDIATE")
                    throw Undone()
                }
            } catch is Undone {
                // The locks from before the savepoint are still there.
            }
        }
    }

    /// Reads the events of rows.
    ///
    /// - Parameters:
    ///   - rows: rows that this transaction has locked.
    ///   - branch: the transaction.
    /// - Returns: their events, in the same order; an error where the headers cannot be read.
    /// - Throws: `TandemError`.
    func read(_ rows: [TableRow], on branch: Branch) async throws -> [Result<Event, TandemError>] {
        let data = column(table.columns.data), nothing: SQL = shape.data == .json ? "'null'" : "''"
        let body: SQL = shape.data == .bytes ? "NULL::text, coalesce(\(sql: data), '')" : "coalesce(\(sql: data)::text, \(sql: nothing)), NULL::bytea"
        let headers: SQL = table.columns.headers.map { name -> SQL in "\(sql: column(name))::text" } ?? "NULL::text"
        let found = try await branch.query(
            """
            SELECT \(sql: id)::text, \(sql: eventID), \(sql: column(table.columns.type))::text, \(sql: aggregate)::text, \(sql: headers),
                pg_catalog.to_char(\(sql: time), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), \(sql: body)
            FROM \(sql: name) o WHERE \(sql: id) = ANY (\(rows.map(\.id)))
            """, as: String.self, String.self, String.self, String?.self, String?.self, String.self, String?.self, [UInt8]?.self)
        var events: [ExactText: Result<Event, TandemError>] = [:]
        for (row, id, topic, key, headers, time, text, bytes) in found {
            let payload = bytes ?? Array((text ?? "").utf8)
            events[ExactText(row)] = Result { () throws(TandemError) in
                Event(
                    id: id, topic: topic, key: key, headers: try Self.headers(headers), contentType: contentType(of: payload), payload: payload, time: time)
            }
        }
        let all = rows.compactMap { events[ExactText($0.id)] }
        guard all.count == rows.count else { throw TandemError(.protocolViolation, "rows of \(table.title) that are locked are not there", node: node.name) }
        return all
    }

    private static func headers(_ text: String?) throws(TandemError) -> [Event.Header] {
        do { return try Event.Header.read(text) } catch {
            throw TandemError(.eventRefused, "the row's headers are no object of JSON: \(error)", nextStep: "correct them", cause: error)
        }
    }

    private func contentType(of payload: [UInt8]) -> String {
        if let type = table.contentType { return type }
        switch shape.data {
        case .json: return Event.json
        case .bytes: return "application/octet-stream"
        case .text: return (try? JSON(reading: payload)) == nil ? "text/plain; charset=utf-8" : Event.json
        }
    }

    /// Tells the server that this relay is alive, so that it leaves the transaction alone.
    func touch(_ branch: Branch) async throws { _ = try await branch.query("SELECT 1", as: Int.self) }

    /// Marks rows as sent.
    func mark(_ ids: [String], on branch: Branch) async throws { try await write(try status(table.sent), to: ids, on: branch) }

    /// Marks rows as given up, where the table has a status for that.
    func giveUp(_ ids: [String], on branch: Branch) async throws {
        if let word = table.failed { try await write(try status(word), to: ids, on: branch) }
    }

    private func write(_ values: SQL, to ids: [String], on branch: Branch) async throws {
        guard !ids.isEmpty else { return }
        try await branch.execute("UPDATE \(sql: name) AS o SET \(sql: values) WHERE \(sql: id) = ANY (\(ids))", rows: ids.count...ids.count)
    }

    // MARK: Lag

    /// How far the sink is behind.
    ///
    /// - Parameter countsFailed: whether rows that were given up are counted, too, which no index helps with.
    /// - Returns: the rows that are pending, the age of the first of them, and the rows that were given up.
    /// - Throws: `TandemError`.
    func lag(countsFailed: Bool) async throws -> (waiting: Int, seconds: Double, failed: Int) {
        func count(_ rows: SQL) -> SQL { "(SELECT count(*) FROM (SELECT FROM \(sql: name) o WHERE \(sql: rows) LIMIT \(Self.mostCounted)::int) c)" }
        let pending = try has(table.pending)
        var age: SQL = "0", failed: SQL = "0"
        if let created = table.columns.created, let clock = shape.created {
            let at = column(created)
            age = """
                coalesce((SELECT greatest(0, extract(epoch FROM \(sql: clock.now) - f.at)) FROM (
                    SELECT CASE WHEN pg_catalog.isfinite(\(sql: at)) THEN \(sql: at) END AS at FROM \(sql: name) o WHERE \(sql: pending)
                    ORDER BY \(sql: order) LIMIT 1) f), 0)
                """
        }
        if countsFailed, let word = table.failed { failed = count(try has(word)) }
        let answer = try await node.query("SELECT \(sql: count(pending)), (\(sql: age))::float8, \(sql: failed)::int8", as: Int.self, Double.self, Int.self)
        guard let (waiting, seconds, dead) = answer.first else { return (0, 0, 0) }
        return (waiting, seconds, dead)
    }
}

/// A row of a claim.
struct TableRow: Sendable {
    /// The row's id, as a text.
    let id: String
    /// Its aggregate.
    let key: String?
    /// How many bytes its event has; `nil` where the row is not locked.
    let bytes: Int?
    /// Whether it has a type.
    let isTyped: Bool
    /// Whether all pending rows of its aggregate before it are in the claim.
    let isAhead: Bool
}
