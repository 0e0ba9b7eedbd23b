import TandemCluster
import TandemCore
import TandemMessaging
import TandemPostgres
import TandemTransactions

/// Events that a sink has not taken.
extension OutboxStore {
    /// The most keys of one answer.
    private static let mostKeys = 5000

    /// An event that waits for another attempt.
    struct Waiting: Sendable {
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
    func park(_ sequences: [Int64], of window: OutboxWindow, retryIn delay: Duration?, isDead: Bool = false, error: TandemError?, epoch: Int64) async throws {
        let answer = try await result(
            """
            SELECT tandem.outbox_park(\(sink), \(share)::int2, \(epoch)::int8, \(window.number)::int8, \(sequences)::int8[], \(isDead ? "dead" : "parked"),
                coalesce(pg_catalog.clock_timestamp() + \(delay?.wholeMilliseconds)::int8 * interval '1 ms', 'infinity'), \(error.map(Self.reason)))
            """)
        if answer.text(0, 0) != "t" { throw Fenced() }
    }

    /// The keys whose events have to wait, and when the first event is due of those behind which nothing waits.
    func parkedKeys() async throws -> (keys: Set<String>, dueIn: Duration?) {
        var keys: Set<String> = [], due: Int64?, last: String?
        while true {
            let rows: [(String?, Int64)]
            do {
                rows = try await node.query(
                    """
                    SELECT f.key, (extract(epoch FROM least(f.due_at, pg_catalog.clock_timestamp() + interval '1 day') - pg_catalog.clock_timestamp()) * 1000)::int8
                    FROM (
                        (SELECT DISTINCT ON (p.key) p.key, p.due_at FROM tandem.outbox_parked p
                        WHERE p.sink = \(sink) AND p.share = \(share)::int2 AND p.state = 'parked' AND p.key IS NOT NULL AND (\(last)::text IS NULL OR p.key > \(last)::text)
                        ORDER BY p.key, p.seq LIMIT \(Self.mostKeys)::int)
                        UNION ALL
                        SELECT NULL, min(p.due_at) FROM tandem.outbox_parked p
                        WHERE p.sink = \(sink) AND p.share = \(share)::int2 AND p.state = 'parked' AND p.key IS NULL AND \(last)::text IS NULL HAVING count(*) > 0) f
                    ORDER BY f.key NULLS FIRST
                    """, as: String?.self, Int64.self)
            } catch let error as TandemError {
                throw OutboxError.named(error)
            }
            for (key, time) in rows {
                if let key { keys.insert(key) }
                due = min(due ?? .max, time)
            }
            last = rows.last?.0
            if rows.count < Self.mostKeys { return (keys, due.map { .milliseconds(max(0, $0)) }) }
        }
    }

    /// Events that are due for another attempt, in order: those behind which nothing of their key has to wait.
    ///
    /// - Parameter limit: how many, and of how many bytes; one that has more comes alone.
    /// - Returns: the events.
    /// - Throws: `TandemError`.
    func due(_ limit: (events: Int, bytes: Int)) async throws -> [Waiting] {
        let rows: [(Int64, String, String, String, String?, String?, String, [UInt8], Int64, Int)]
        do {
            rows = try await node.query(
                """
                SELECT \(sql: Self.columns), e.number, e.attempts
                FROM tandem.outbox_due(\(sink), \(share)::int2, \(limit.events)::int, \(limit.bytes)::int8) e
                """, as: Int64.self, String.self, String.self, String.self, String?.self, String?.self, String.self, [UInt8].self, Int64.self, Int.self)
        } catch let error as TandemError {
            throw OutboxError.named(error)
        }
        return rows.map { sequence, time, id, topic, key, headers, type, payload, number, attempts in
            let event = Event(id: id, topic: topic, key: key, headers: Event.Header.stored(headers), contentType: type, payload: payload, time: time)
            // Whatever the sink has had by its place since, this one it has not.
            let delivery = Delivery(event, from: source, to: lane, at: .init(window: number, sequence: sequence), isPlaceLasting: false)
            return Waiting(delivery: delivery, attempts: attempts)
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

    /// Notes another attempt that failed. Whether it was the last one is said by the row as it is now, not as it was read: an operator may have asked for all attempts anew meanwhile.
    ///
    /// - Parameters:
    ///   - sequence: the event's number.
    ///   - delay: until the next one.
    ///   - most: how many attempts there are. After the last one there is none before an operator wants it.
    ///   - refusal: what becomes of the event then.
    ///   - error: why.
    ///   - epoch: the lease's.
    /// - Throws: ``Fenced``; `TandemError`.
    func failed(
        _ sequence: Int64, retryIn delay: Duration, attempts most: Int, refusal: RelayOptions.Refusal, error: TandemError, epoch: Int64
    ) async throws {
        let last = refusal == .dead ? "dead" : "parked", most = Int32(clamping: most)
        try await underLease(
            """
            WITH own AS (\(sql: lease(epoch))), noted AS (
                UPDATE tandem.outbox_parked p SET attempts = p.attempts + 1, error = \(Self.reason(error)),
                    state = CASE WHEN p.attempts + 1 >= \(most)::int THEN \(last) ELSE 'parked' END,
                    due_at = CASE WHEN p.attempts + 1 >= \(most)::int THEN 'infinity'
                        ELSE pg_catalog.clock_timestamp() + \(delay.wholeMilliseconds)::int8 * interval '1 ms' END
                FROM own WHERE p.sink = own.sink AND p.share = own.share AND p.seq = \(sequence)::int8)
            SELECT count(*) FROM own
            """)
    }

    private static func reason(_ error: TandemError) -> String { "\(error.code): \(error.message)".withoutNUL }

    /// The lease's row, as long as it is ours.
    private func lease(_ epoch: Int64) -> SQL {
        "SELECT s.sink, s.share FROM tandem.outbox_sink s WHERE s.sink = \(sink) AND s.share = \(share)::int2 AND s.epoch = \(epoch)::int8 FOR SHARE"
    }

    private func underLease(_ sql: SQL) async throws {
        if try await result(sql).text(0, 0) != "1" { throw Fenced() }
    }
}
