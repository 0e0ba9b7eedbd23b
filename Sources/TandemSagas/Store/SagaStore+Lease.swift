import TandemCore
import TandemPostgres
import TandemTransactions

/// Whose a saga is.
extension SagaStore {
    /// Takes sagas that are due, the longest due first; others take none of them meanwhile.
    ///
    /// - Parameters:
    ///   - most: how many.
    ///   - code: the hashes of the definitions in code that this program has.
    /// - Returns: the sagas, each under a new epoch.
    /// - Throws: `nodeUnreachable` and kin.
    func claim(_ most: Int, code: [String]) async throws -> [SagaRecord] {
        let result = try await node.result(
            of: """
                WITH due AS (
                    SELECT id, owner IS NOT NULL AS is_taken_over FROM tandem.saga WHERE due_at <= pg_catalog.clock_timestamp()
                      AND (NOT is_code OR definition = ANY (SELECT pg_catalog.decode(c, 'hex') FROM unnest(\(code)::text[]) c))
                    ORDER BY due_at LIMIT \(most)::int FOR UPDATE SKIP LOCKED)
                UPDATE tandem.saga s SET owner = \(owner), epoch = s.epoch + 1, waits_for = NULL, is_woken = false,
                    due_at = pg_catalog.clock_timestamp() + \(lease.milliseconds)::int8 * interval '1 ms'
                FROM due WHERE s.id = due.id
                RETURNING s.id, s.name, pg_catalog.encode(s.definition, 'hex'), s.is_code, s.input, s.epoch, s.state,
                    (extract(epoch FROM s.deadline_at - pg_catalog.clock_timestamp()) * 1000)::int8, due.is_taken_over
                """, timeout: patience)
        telemetry.tookOver((0..<result.rowCount).count { result.text($0, 8) == "t" })
        return (0..<result.rowCount).compactMap { row in
            guard let id = result.text(row, 0).flatMap({ SagaID($0) }), let name = result.text(row, 1), let definition = result.text(row, 2),
                let epoch = result.text(row, 5).flatMap({ Int64($0) })
            else { return nil }
            return SagaRecord(
                id: id, name: name, definition: definition, isCode: result.text(row, 3) == "t", input: result.text(row, 4) ?? "null", epoch: epoch,
                state: result.text(row, 6) ?? "", timeLeft: result.text(row, 7).flatMap { Int64($0) }.map { .milliseconds($0) })
        }
    }

    /// Keeps sagas for another lease.
    ///
    /// - Parameter held: the sagas with their epochs.
    /// - Returns: those that are still this worker's.
    /// - Throws: `nodeUnreachable` and kin.
    func extend(_ held: [(id: SagaID, epoch: Int64)]) async throws -> Set<SagaID> {
        let result = try await node.result(
            of: """
                UPDATE tandem.saga s SET due_at = pg_catalog.clock_timestamp() + \(lease.milliseconds)::int8 * interval '1 ms'
                FROM unnest(\(held.map(\.id.description))::uuid[], \(held.map(\.epoch))::int8[]) AS i (id, epoch)
                WHERE s.id = i.id AND s.epoch = i.epoch AND s.due_at IS NOT NULL AND s.owner IS NOT NULL RETURNING s.id
                """, timeout: patience)
        return Set((0..<result.rowCount).compactMap { result.text($0, 0).flatMap { SagaID($0) } })
    }

    /// Gives a saga back, to be run again later.
    ///
    /// - Parameters:
    ///   - saga: the saga.
    ///   - time: when, from now; `nil` for when somebody wakes it.
    ///   - reason: what it waits for.
    ///   - heedsDeadline: whether it is due again when its deadline passes.
    /// - Throws: ``Fenced``; `CancellationError`.
    func release(_ saga: SagaRecord, after time: Duration?, waitsFor reason: String?, heedsDeadline: Bool) async throws {
        let written = try await definitely {
            try await self.node.result(
                of: """
                    UPDATE tandem.saga SET owner = NULL, waits_for = \(reason), is_woken = false,
                        due_at = CASE WHEN is_woken THEN pg_catalog.clock_timestamp()
                            ELSE least(pg_catalog.clock_timestamp() + \(time?.milliseconds)::int8 * interval '1 ms', CASE WHEN \(heedsDeadline)::bool THEN deadline_at END) END
                    WHERE id = \(saga.id.description)::uuid AND epoch = \(saga.epoch)::int8 AND ended_at IS NULL AND state NOT LIKE 'stuck%' RETURNING id
                    """, timeout: patience)
        }
        if written.rowCount == 0 { throw Fenced() }
    }

    // MARK: Journal

    /// Writes entries of a saga's journal.
    func append(_ entries: [JournalEntry], to saga: SagaRecord) async throws {
        let written = try await definitely {
            try await self.node.result(
                of: """
                    WITH own AS (SELECT id FROM tandem.saga WHERE id = \(saga.id.description)::uuid AND epoch = \(saga.epoch)::int8 FOR SHARE)
                    INSERT INTO tandem.saga_journal (saga_id, step, what, attempt, output, error, epoch)
                    SELECT own.id, i.step, i.what, i.attempt::int, i.output::json, i.error::json, \(saga.epoch)::int8
                    FROM own, unnest(\(entries.map(\.step))::text[], \(entries.map(\.what.rawValue))::text[], \(entries.map { $0.attempt.map { String($0) } })::text[],
                        \(entries.map(\.output))::text[], \(entries.map(\.error))::text[]) AS i (step, what, attempt, output, error)
                    RETURNING saga_id
                    """, timeout: patience)
        }
        if written.rowCount == 0 { throw Fenced() }
        telemetry.noted(entries)
    }

    /// Makes it durable that a saga turns back.
    func turnBack(_ saga: SagaRecord, done: [String], error: String?) async throws {
        let list = JSON.array(done.map { .string($0) }).text
        let written = try await definitely {
            try await self.node.result(
                of: """
                    WITH own AS (
                        UPDATE tandem.saga SET state = 'compensating', error = \(error)::json WHERE id = \(saga.id.description)::uuid AND epoch = \(saga.epoch)::int8
                        RETURNING id)
                    INSERT INTO tandem.saga_journal (saga_id, what, output, error, epoch)
                    SELECT id, 'turned_back', \(list)::json, \(error)::json, \(saga.epoch)::int8 FROM own RETURNING saga_id
                    """, timeout: patience)
        }
        if written.rowCount == 0 { throw Fenced() }
    }

    /// A saga's journal, the oldest entry first.
    func journal(of id: SagaID) async throws -> [JournalEntry] {
        let result = try await node.result(
            of: """
                SELECT what, step, attempt, output, error, who, (extract(epoch FROM pg_catalog.clock_timestamp() - at) * 1000)::int8
                FROM tandem.saga_journal WHERE saga_id = \(id.description)::uuid ORDER BY id
                """, timeout: patience)
        return (0..<result.rowCount).compactMap { row in
            guard let what = result.text(row, 0).flatMap({ JournalEntry.What(rawValue: $0) }) else { return nil }
            return JournalEntry(
                what: what, step: result.text(row, 1), attempt: result.text(row, 2).flatMap { Int($0) }, output: result.text(row, 3),
                error: result.text(row, 4),
                who: result.text(row, 5), age: .milliseconds(result.text(row, 6).flatMap { Int64($0) } ?? 0))
        }
    }

    /// A signal that was sent to a saga.
    ///
    /// - Returns: its data, as JSON; `nil` where it was not sent.
    func signal(_ name: String, of id: SagaID) async throws -> String? {
        let result = try await node.result(
            of: "SELECT coalesce(data, 'null') FROM tandem.saga_signal WHERE saga_id = \(id.description)::uuid AND name = \(name)", timeout: patience)
        return result.only
    }
}
