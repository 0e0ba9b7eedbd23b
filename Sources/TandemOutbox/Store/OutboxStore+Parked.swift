import TandemCluster
import TandemCore
import TandemMessaging
import TandemPostgres
import TandemTransactions

/// Events that a sink has not taken.
extension OutboxStore {
    /// An event that waits for another attempt: the first one of its key.
    struct Head: Sendable {
        let delivery: Delivery
        let attempts: Int
    }

    /// Sets events aside, so that their window can go on.
    ///
    /// - Parameters:
    ///   - sequences: their numbers.
    ///   - window: their window.
    ///   - delay: until the next attempt; `nil` for none before an operator wants it.
    ///   - isDead: whether they are given up, and their keys flow on.
    ///   - error: why; `nil` for those that were not tried.
    ///   - epoch: the lease's.
    /// - Throws: ``Fenced``; `TandemError`.
    func park(_ sequences: [Int64], of window: OutboxWindow, retryIn delay: Duration?, isDead: Bool = false, error: String?, epoch: Int64) async throws {
        let answer = try await result(
            """
            SELECT tandem.outbox_park(\(sink), \(share)::int2, \(epoch)::int8, \(window.number)::int8, \(sequences)::int8[], \(isDead ? "dead" : "parked"),
                coalesce(pg_catalog.clock_timestamp() + \(delay?.wholeMilliseconds)::int8 * interval '1 ms', 'infinity'), \(error))
            """)
        if answer.text(0, 0) != "t" { throw Fenced() }
    }

    /// The keys whose events have to wait, and when the first of them is due.
    func parkedKeys() async throws -> (keys: Set<String>, dueIn: Duration?) {
        let answer = try await result(
            """
            SELECT pg_catalog.json_agg(DISTINCT p.key) FILTER (WHERE p.key IS NOT NULL),
                (extract(epoch FROM least(min(p.due_at) FILTER (WHERE NOT EXISTS (
                    SELECT FROM tandem.outbox_parked b
                    WHERE b.sink = p.sink AND b.share = p.share AND b.key = p.key AND b.state = 'parked' AND b.seq < p.seq)),
                    pg_catalog.clock_timestamp() + interval '1 day') - pg_catalog.clock_timestamp()) * 1000)::int8
            FROM tandem.outbox_parked p WHERE p.sink = \(sink) AND p.share = \(share)::int2 AND p.state = 'parked'
            """)
        var keys: Set<String> = []
        if let text = answer.text(0, 0), case .array(let values)? = try? JSON(reading: text) {
            for case .string(let key) in values { keys.insert(key) }
        }
        return (keys, answer.text(0, 1).flatMap { Int64($0) }.map { .milliseconds(max(0, $0)) })
    }

    /// Events that are due for another attempt: of each key its first one.
    func heads(_ limit: Int) async throws -> [Head] {
        let rows: [(Int64, String, String, String, String?, String?, String, [UInt8], Int64, Int)]
        do {
            rows = try await node.query(
                """
                SELECT \(sql: Self.columns), e.number, e.attempts FROM tandem.outbox_parked e
                WHERE e.sink = \(sink) AND e.share = \(share)::int2 AND e.state = 'parked' AND e.due_at <= pg_catalog.clock_timestamp() AND NOT EXISTS (
                    SELECT FROM tandem.outbox_parked b
                    WHERE b.sink = e.sink AND b.share = e.share AND b.key = e.key AND b.state = 'parked' AND b.seq < e.seq)
                ORDER BY e.seq LIMIT \(limit)::int
                """, as: Int64.self, String.self, String.self, String.self, String?.self, String?.self, String.self, [UInt8].self, Int64.self, Int.self)
        } catch let error as TandemError {
            throw OutboxError.named(error)
        }
        return rows.map { sequence, time, id, topic, key, headers, type, payload, number, attempts in
            let event = Event(id: id, topic: topic, key: key, headers: Event.Header.read(headers), contentType: type, payload: payload, time: time)
            return Head(delivery: Delivery(event, from: source, to: lane, at: .init(window: number, sequence: sequence)), attempts: attempts)
        }
    }

    /// Removes what the sink has taken after all.
    func unpark(_ sequences: [Int64], epoch: Int64) async throws {
        try await underLease(
            """
            WITH own AS (\(sql: lease(epoch))), gone AS (
                DELETE FROM tandem.outbox_parked p USING own WHERE p.sink = own.sink AND p.share = own.share AND p.seq = ANY (\(sequences)::int8[]))
            SELECT count(*) FROM own
            """)
    }

    /// Notes another attempt that failed.
    ///
    /// - Parameters:
    ///   - sequence: the event's number.
    ///   - delay: until the next one; `nil` for none before an operator wants it.
    ///   - isDead: whether the event is given up, and its key flows on.
    ///   - error: why.
    ///   - epoch: the lease's.
    /// - Throws: ``Fenced``; `TandemError`.
    func failed(_ sequence: Int64, retryIn delay: Duration?, isDead: Bool, error: String?, epoch: Int64) async throws {
        try await underLease(
            """
            WITH own AS (\(sql: lease(epoch))), noted AS (
                UPDATE tandem.outbox_parked p SET attempts = p.attempts + 1, error = \(error), state = CASE WHEN \(isDead)::bool THEN 'dead' ELSE 'parked' END,
                    due_at = coalesce(pg_catalog.clock_timestamp() + \(delay?.wholeMilliseconds)::int8 * interval '1 ms', 'infinity')
                FROM own WHERE p.sink = own.sink AND p.share = own.share AND p.seq = \(sequence)::int8)
            SELECT count(*) FROM own
            """)
    }

    /// The lease's row, as long as it is ours.
    private func lease(_ epoch: Int64) -> SQL {
        "SELECT s.sink, s.share FROM tandem.outbox_sink s WHERE s.sink = \(sink) AND s.share = \(share)::int2 AND s.epoch = \(epoch)::int8 FOR SHARE"
    }

    private func underLease(_ sql: SQL) async throws {
        if try await result(sql).text(0, 0) != "1" { throw Fenced() }
    }
}
