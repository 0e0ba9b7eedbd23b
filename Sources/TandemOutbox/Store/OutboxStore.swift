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

    /// What deliveries bear as their sink: each share has windows of its own, so their places are to be kept apart.
    var lane: String { share == 0 ? sink : "\(sink)#\(share)" }

    /// What an answer to a wish for the lease says.
    enum Claim: Sendable {
        /// `isAsked`: another relay, with fewer shares, waits for this one.
        case taken(epoch: Int64, isAsked: Bool)
        case held(by: String, left: Duration)
        /// The sink has another number of shares. `holders` names all that have a lease.
        case divided(into: Int, holders: String, left: Duration)
    }

    /// The same of another share.
    func of(share: Int) -> OutboxStore { OutboxStore(node: node, sink: sink, share: share, source: source) }

    func result(_ sql: SQL, within time: Duration = patience) async throws -> ResultSet {
        do { return try await node.result(of: sql, timeout: time) } catch let error as TandemError { throw OutboxError.named(error) }
    }

    // MARK: Lease

    /// Makes the sink known, where it is not.
    func add(shares: Int, fromStart: Bool) async throws {
        _ = try await result("SELECT tandem.outbox_add_sink(\(sink), \(shares)::int2, \(fromStart)::bool)")
    }

    /// Takes the lease, or renews it, if the sink has so many shares.
    func claim(_ holder: String, of shares: Int, for time: Duration) async throws -> Claim {
        let answer = try await result(
            """
            SELECT c.epoch, c.held_by, (extract(epoch FROM c.left_for) * 1000)::int8, c.recorded, c.is_asked
            FROM tandem.outbox_claim(\(sink), \(share)::int2, \(holder), \(time.wholeMilliseconds)::int8 * interval '1 ms', \(shares)::int2) c
            """)
        if let epoch = answer.text(0, 0).flatMap({ Int64($0) }) { return .taken(epoch: epoch, isAsked: answer.text(0, 4) == "t") }
        let holders = answer.text(0, 1) ?? "", left = Duration.milliseconds(answer.text(0, 2).flatMap { Int64($0) } ?? 0)
        if let recorded = answer.text(0, 3).flatMap({ Int($0) }), recorded != shares { return .divided(into: recorded, holders: holders, left: left) }
        return .held(by: holders, left: left)
    }

    /// Takes the leases of all shares, or renews them, in order to divide the sink into another number of them.
    ///
    /// - Parameters:
    ///   - holder: who wants them.
    ///   - shares: the other number.
    ///   - time: for how long.
    /// - Returns: the epochs of the shares from the first one on; none where somebody has a lease, or where there are so many shares already.
    /// - Throws: `TandemError`.
    func claimAll(_ holder: String, into shares: Int, for time: Duration) async throws -> [Int64] {
        let answer = try await result(
            """
            SELECT c.epoch FROM tandem.outbox_claim_all(\(sink), \(holder), \(time.wholeMilliseconds)::int8 * interval '1 ms', \(shares)::int2) c ORDER BY c.share
            """)
        return (0..<answer.rowCount).compactMap { answer.text($0, 0).flatMap { Int64($0) } }
    }

    /// Divides the sink into another number of shares: under the leases of all of them, when all stand at one place.
    ///
    /// - Returns: whether it was done.
    /// - Throws: `TandemError`.
    func divide(_ holder: String, into shares: Int) async throws -> Bool {
        // It moves what is set aside, too.
        try await result("SELECT tandem.outbox_divide(\(sink), \(holder), \(shares)::int2)", within: Self.patience * 15).text(0, 0) == "t"
    }

    /// Gives the lease back, so that another relay need not wait for its end.
    ///
    /// - Parameters:
    ///   - holder: who has it.
    ///   - time: for how long it is still kept for a relay that has asked for it.
    /// - Throws: `TandemError`.
    func release(_ holder: String, keeping time: Duration) async throws { try await release(holder, time, share) }

    /// Gives all leases back that the holder has of the sink, and wants none any more that it has asked for.
    ///
    /// - Parameters:
    ///   - holder: who has them.
    ///   - time: for how long one is still kept for a relay that has asked for it.
    /// - Throws: `TandemError`.
    func releaseAll(_ holder: String, keeping time: Duration) async throws { try await release(holder, time, nil) }

    private func release(_ holder: String, _ time: Duration, _ share: Int?) async throws {
        _ = try await result("SELECT tandem.outbox_release(\(sink), \(holder), \(time.wholeMilliseconds)::int8 * interval '1 ms', \(share)::int2)")
    }

    /// Goes on after a promotion, where nobody has done it yet: the window that each share stands in is sent again under a new number.
    func renumber() async throws { _ = try await result("SELECT tandem.outbox_renumber(true)") }

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
    ///   - joining: whether the next one ends where the share of the sink stands that is furthest ahead, and there is none where this one stands there.
    /// - Returns: the next window, durable; or that there is nothing new, or that the share stands elsewhere.
    /// - Throws: ``Fenced``; `TandemError`.
    func open(after window: OutboxWindow, epoch: Int64, acknowledges: Bool, joining: Bool) async throws -> Opened {
        let answer = try await result(
            """
            SELECT o.outcome, o.window_number, o.last_seq
            FROM tandem.outbox_open(
                \(sink), \(share)::int2, \(epoch)::int8, \(window.number)::int8, \(acknowledges ? window.last : nil)::int8, \(joining)::bool) o
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
    ///   - limit: how many, and of how many bytes; one that has more comes alone.
    /// - Returns: the events, and whether there may be more.
    /// - Throws: `TandemError`.
    func read(_ window: OutboxWindow, behind place: Int64, limit: (events: Int, bytes: Int)) async throws -> OutboxChunk {
        let rows = try await events(
            """
            SELECT \(sql: Self.columns) FROM tandem.outbox_read(\(sink), \(share)::int2, \(window.number)::int8, \(place)::int8, \(limit.events)::int, \(limit.bytes)::int8) e
            """)
        let deliveries = rows.compactMap { sequence, event in
            event.map { Delivery($0, from: source, to: lane, at: .init(window: window.number, sequence: sequence)) }
        }
        // A row of a number alone: up to there it was looked for events.
        let goesOn = rows.last.map { $0.event == nil } ?? false
        return OutboxChunk(events: deliveries, end: rows.last?.sequence ?? window.last, isLast: !goesOn && deliveries.count < limit.events)
    }

    static let columns: SQL = """
        e.seq, pg_catalog.to_char(e.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), e.id::text, e.topic, e.key, e.headers::text, e.content_type, e.payload
        """

    private func events(_ sql: SQL) async throws -> [(sequence: Int64, event: Event?)] {
        do {
            let rows = try await node.query(
                sql, as: Int64.self, String?.self, String?.self, String?.self, String?.self, String?.self, String?.self, [UInt8]?.self, timeout: Self.patience)
            return rows.map { sequence, time, id, topic, key, headers, type, payload in
                guard let time, let id, let topic, let type, let payload else { return (sequence, nil) }
                return (sequence, Event(id: id, topic: topic, key: key, headers: Event.Header.stored(headers), contentType: type, payload: payload, time: time))
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
