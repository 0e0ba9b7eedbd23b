import TandemCluster
import TandemCore
import TandemMessaging
import TandemPostgres
import TandemTransactions

/// What a relay asks of one source's outbox, for one share of one sink: each function is one statement.
///
/// Positions are written under an epoch. Whoever has lost the lease is told by ``Fenced``, and changes nothing.
struct OutboxStore: Sendable {
    /// Another relay has the lease.
    struct Fenced: Error {}

    /// How long one statement may take.
    private static let patience = Duration.seconds(20)

    let node: Node
    let sink: String
    let share: Int
    /// `/CLUSTER/NODE`
    let source: String

    /// What an answer to a wish for the lease says.
    enum Claim: Sendable {
        case taken(epoch: Int64)
        case held(by: String, left: Duration)
    }

    func result(_ sql: SQL) async throws -> ResultSet {
        do { return try await node.result(of: sql, timeout: Self.patience) } catch let error as TandemError { throw OutboxError.named(error) }
    }

    // MARK: Lease

    /// Makes the sink known, where it is not.
    func add(fromStart: Bool) async throws { _ = try await result("SELECT tandem.outbox_add_sink(\(sink), \(share)::int2, \(fromStart)::bool)") }

    /// Takes the lease, or renews it.
    func claim(_ holder: String, for time: Duration) async throws -> Claim {
        let answer = try await result(
            """
            SELECT c.epoch, c.held_by, (extract(epoch FROM c.left_for) * 1000)::int8
            FROM tandem.outbox_claim(\(sink), \(share)::int2, \(holder), \(time.wholeMilliseconds)::int8 * interval '1 ms') c
            """)
        if let epoch = answer.text(0, 0).flatMap({ Int64($0) }) { return .taken(epoch: epoch) }
        return .held(by: answer.text(0, 1) ?? "", left: .milliseconds(answer.text(0, 2).flatMap { Int64($0) } ?? 0))
    }

    /// Gives the lease back, so that another relay need not wait for its end.
    func release(_ holder: String) async throws {
        _ = try await result("UPDATE tandem.outbox_sink SET until = '-infinity' WHERE sink = \(sink) AND share = \(share)::int2 AND holder = \(holder)")
    }

    /// Goes on after a promotion: the window that each share stands in is sent again under a new number.
    func renumber() async throws { _ = try await result("SELECT tandem.outbox_renumber()") }

    // MARK: Windows

    /// Where the share stands.
    func position() async throws -> OutboxWindow {
        let answer = try await result(
            """
            SELECT p.number, p.last_seq, p.acked FROM tandem.outbox_position(\(sink), \(share)::int2) p
            """)
        guard let window = OutboxWindow(answer, 0, acknowledged: answer.text(0, 2).flatMap { Int64($0) } ?? 0) else {
            throw TandemError(.notFound, "the outbox has no sink \(sink)", node: node.name, nextStep: "`tandem outbox lag` lists the sinks")
        }
        return window
    }

    /// Ends a window and opens the next one.
    ///
    /// - Parameters:
    ///   - window: the one that the share stands in, all of which the sink has.
    ///   - epoch: the lease's.
    ///   - acknowledges: whether that is to be written first.
    /// - Returns: the next window, durable; `nil` where there is nothing new, or the share stands elsewhere.
    /// - Throws: ``Fenced``; `TandemError`.
    func open(after window: OutboxWindow, epoch: Int64, acknowledges: Bool) async throws -> Opened {
        let answer = try await result(
            """
            SELECT o.outcome, o.window_number, o.last_seq
            FROM tandem.outbox_open(\(sink), \(share)::int2, \(epoch)::int8, \(window.number)::int8, \(acknowledges ? window.last : nil)::int8) o
            """)
        switch answer.text(0, 0) {
        case "opened": return OutboxWindow(answer, 1, acknowledged: 0).map { .window($0) } ?? .moved
        case "quiet": return .quiet
        case "fenced": throw Fenced()
        default: return .moved
        }
    }

    /// What opening a window has led to.
    enum Opened: Sendable {
        case window(OutboxWindow)
        case quiet
        case moved
    }

    /// Notes how far the sink has a window.
    func acknowledge(_ window: OutboxWindow, upTo sequence: Int64, epoch: Int64) async throws {
        let answer = try await result(
            "SELECT tandem.outbox_acknowledge(\(sink), \(share)::int2, \(epoch)::int8, \(window.number)::int8, \(sequence)::int8)")
        if answer.text(0, 0) != "t" { throw Fenced() }
    }

    // MARK: Events

    /// Events of a window, in order, from behind a place on.
    ///
    /// - Parameters:
    ///   - window: the window.
    ///   - place: the last one that is not wanted; 0 for the window's begin.
    ///   - limit: how many, and of how many bytes of payload, but for the last of them.
    /// - Returns: the events, and whether there may be more.
    /// - Throws: `TandemError`.
    func read(_ window: OutboxWindow, behind place: Int64, limit: (events: Int, bytes: Int)) async throws -> OutboxChunk {
        let rows = try await events(
            """
            SELECT \(sql: Self.columns) FROM tandem.outbox_read(\(sink), \(share)::int2, \(window.number)::int8, \(place)::int8, \(limit.events)::int, \(limit.bytes)::int8) e
            """)
        let deliveries = rows.map { Delivery($0.event, from: source, to: sink, at: .init(window: window.number, sequence: $0.sequence)) }
        let bytes = rows.reduce(0) { $0 + $1.event.payload.count }
        return OutboxChunk(events: deliveries, end: rows.last?.sequence ?? window.last, isLast: rows.count < limit.events && bytes < limit.bytes)
    }

    static let columns: SQL = """
        e.seq, pg_catalog.to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), e.id::text, e.topic, e.key, e.headers::text, e.content_type, e.payload
        """

    func events(_ sql: SQL) async throws -> [(sequence: Int64, event: Event)] {
        do {
            let rows = try await node.query(
                sql, as: Int64.self, String.self, String.self, String.self, String?.self, String?.self, String.self, [UInt8].self, timeout: Self.patience)
            return rows.map { sequence, time, id, topic, key, headers, type, payload in
                (sequence, Event(id: id, topic: topic, key: key, headers: Event.Header.read(headers), contentType: type, payload: payload, time: time))
            }
        } catch let error as TandemError {
            throw OutboxError.named(error)
        }
    }
}

/// Events that were committed between two snapshots: visible in the second one and not in the first.
struct OutboxWindow: Sendable {
    let number: Int64
    /// No event of it has a higher number.
    let last: Int64
    /// How far the sink has it, as far as that is written.
    var acknowledged: Int64

    /// Whether the sink has all of it.
    var isDone: Bool { acknowledged >= last }

    init?(_ result: ResultSet, _ column: Int, acknowledged: Int64) {
        guard result.rowCount > 0, let number = result.text(0, column).flatMap({ Int64($0) }), let last = result.text(0, column + 1).flatMap({ Int64($0) })
        else { return nil }
        self.number = number
        self.last = last
        self.acknowledged = acknowledged
    }
}

/// Some events of a window.
struct OutboxChunk: Sendable {
    let events: [Delivery]
    /// The number of the last one, or of the window's end where there is none.
    let end: Int64
    /// Whether the window has no more.
    let isLast: Bool
}
