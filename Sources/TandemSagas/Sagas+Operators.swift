import Foundation
import TandemCluster
import TandemCore
import TandemPostgres
import TandemTransactions

/// What operators and others do to sagas that run.
extension Sagas {
    /// Sends a signal, for which a step of the saga may wait. The first one of a name counts.
    ///
    /// - Parameters:
    ///   - name: the signal's name.
    ///   - id: the saga.
    ///   - data: a JSON text, which is the output of the step.
    /// - Returns: whether it is the first one of its name.
    /// - Throws: `notFound`; `refusedBySafetyRule` where the saga has ended; `configurationInvalid` where the data is no JSON.
    @discardableResult
    public func signal(_ name: String, to id: SagaID, data: String = "null") async throws -> Bool {
        try KeptJSON.check(data, "the data", example: "{\"ok\": true}")
        let result = try await engine.store.node.result(
            of: """
                WITH woken AS (
                    UPDATE tandem.saga SET is_woken = true,
                        due_at = CASE WHEN owner IS NULL AND state IN ('running', 'compensating') THEN pg_catalog.clock_timestamp() ELSE due_at END
                    WHERE id = \(id.description)::uuid AND ended_at IS NULL RETURNING id),
                sent AS (
                    INSERT INTO tandem.saga_signal (saga_id, name, data) SELECT id, \(name), \(data)::json FROM woken ON CONFLICT DO NOTHING RETURNING saga_id)
                SELECT (SELECT count(*) FROM woken), (SELECT count(*) FROM sent)
                """)
        guard result.text(0, 0) == "1" else { throw try await missing(id, "takes no signal") }
        return result.text(0, 1) == "1"
    }

    /// Tries again at once what a saga is stuck at or waits to try again, with all its attempts.
    ///
    /// - Parameters:
    ///   - id: the saga.
    ///   - reason: why; it is recorded.
    /// - Throws: `notFound`; `refusedBySafetyRule` where the saga has ended.
    public func retry(_ id: SagaID, reason: String) async throws { try await operate(id, JournalEntry(what: .retry), reason) }

    /// Goes on without a step: forward as if it were done without an output, backward as if it were undone. Whatever it has or has not done is then yours to look after.
    ///
    /// - Parameters:
    ///   - step: the step's name.
    ///   - id: the saga.
    ///   - reason: why; it is recorded.
    /// - Throws: `notFound` where there is no such saga or step; `refusedBySafetyRule` where the saga has ended.
    public func skip(_ step: String, of id: SagaID, reason: String) async throws {
        try await check(step, of: id)
        try await operate(id, JournalEntry(what: .skip, step: step), reason)
    }

    /// Goes on as if a step were done, with an output of yours; backward as if it were undone.
    ///
    /// What if the step has happened all the same? Then its own record and output count.
    ///
    /// - Parameters:
    ///   - step: the step's name.
    ///   - id: the saga.
    ///   - output: a JSON text.
    ///   - reason: why; it is recorded.
    /// - Throws: as ``skip(_:of:reason:)`` does; `configurationInvalid` where the output is no JSON.
    public func resolve(_ step: String, of id: SagaID, output: String, reason: String) async throws {
        try KeptJSON.check(output, "the output", example: "{\"id\": 7}")
        try await check(step, of: id)
        try await operate(id, JournalEntry(what: .resolve, step: step, output: output), reason)
    }

    /// Lets a saga turn back. One that is past its pivot, or done with all steps, cannot.
    ///
    /// - Parameters:
    ///   - id: the saga.
    ///   - reason: why; it is recorded.
    /// - Throws: `notFound`; `refusedBySafetyRule` where the saga has ended or is past its pivot.
    public func cancel(_ id: SagaID, reason: String) async throws {
        let (summary, definition) = try await engine.store.definition(of: id)
        func refuse(_ problem: String) -> TandemError {
            TandemError(.refusedBySafetyRule, "the saga \(id) \(problem)", nextStep: "`tandem saga show \(id)` tells how it stands")
        }
        if summary.state == .stuckForward { throw refuse("is past its pivot, and only goes forward") }
        if let definition, let compiled = try? CompiledSaga(body: definition, engine.cluster), let pivot = compiled.plan.pivot,
            case .sql(let action) = compiled.steps[pivot].action
        {
            let record = StepRecord(saga: id, step: compiled.steps[pivot].name, epoch: 0)
            if case .done = try await record.read(on: engine.cluster[action.node]) { throw refuse("is past its pivot, and only goes forward") }
        }
        try await operate(id, JournalEntry(what: .cancel), reason)
    }

    // MARK: Recording

    private func operate(_ id: SagaID, _ entry: JournalEntry, _ reason: String) async throws {
        guard !reason.allSatisfy(\.isWhitespace) else { throw TandemError(.configurationInvalid, "a reason is missing", nextStep: "say why: it is recorded") }
        let note = JSON.object([("reason", .string(reason))]).text
        // Whoever runs it now has lost it, and whoever takes it next reads the entry.
        let result = try await engine.store.node.result(
            of: """
                WITH taken AS (
                    UPDATE tandem.saga SET epoch = epoch + 1, owner = NULL, waits_for = NULL, due_at = pg_catalog.clock_timestamp(),
                        state = CASE state WHEN 'stuck_forward' THEN 'running' WHEN 'stuck_compensation' THEN 'compensating' ELSE state END
                    WHERE id = \(id.description)::uuid AND ended_at IS NULL AND state NOT IN ('completed', 'compensated') RETURNING id, epoch)
                INSERT INTO tandem.saga_journal (saga_id, step, what, output, error, who, epoch)
                SELECT id, \(entry.step), \(entry.what.rawValue), \(entry.output)::json, \(note)::json, session_user, epoch FROM taken RETURNING saga_id
                """)
        if result.rowCount == 0 { throw try await missing(id, "needs nothing any more") }
    }

    private func check(_ step: String, of id: SagaID) async throws {
        guard let body = try await engine.store.definition(of: id).definition,
            let definition = try? JSONDecoder().decode(SagaDefinition.self, from: Data(body.utf8))
        else { return }
        guard definition.steps.contains(where: { $0.name == step }) else {
            throw TandemError(
                .notFound, "the saga \(definition.name) has no step \(step)", nextStep: "its steps are \(definition.steps.map(\.name).joined(separator: ", "))")
        }
    }

    private func missing(_ id: SagaID, _ what: String) async throws -> TandemError {
        let summary = try await engine.store.summary(of: id)
        return TandemError(
            .refusedBySafetyRule, "the saga \(id) is \(summary.state.rawValue) and \(what)", nextStep: "`tandem saga show \(id)` tells how it ended")
    }
}
