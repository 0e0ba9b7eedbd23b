import Foundation
import Logging
import TandemCluster
import TandemCore
import TandemFailpoints
import TandemPostgres
import TandemTransactions

/// One saga in Swift in this worker's hands.
///
/// Forward its function runs, and steps that are done answer from their records. To turn back the function runs once more, and each step that is not done is barred in
/// that run: a step that others did meanwhile is found done and answers, so that the function asks for the ones behind it, which are barred, too. What is known to
/// be done then is undone, the last first; the functions that undo were handed over in that run.
struct CodeSagaRun {
    let engine: SagaEngine
    let saga: SagaRecord
    let code: CodeSaga
    let holding: HeldSagas.Holding
    private var journal = CodeJournal([], isBack: false)

    init(_ engine: SagaEngine, _ saga: SagaRecord, _ code: CodeSaga, _ holding: HeldSagas.Holding) {
        self.engine = engine
        self.saga = saga
        self.code = code
        self.holding = holding
    }

    private enum Result {
        case returned(String)
        case failed(TandemError)
        case released(Duration?, String)
        case mismatched(TandemError)
    }

    /// As ``SagaRun/run()``.
    mutating func run() async throws -> SagaEnding? {
        let store = engine.store, id = saga.id
        if saga.isSettled {
            try await store.close(saga)
            let ending = SagaEnding(id: saga.id, epoch: saga.epoch, state: saga.state, output: nil, error: nil, course: nil)
            engine.telemetry.ended(ending)
            return ending
        }
        let entries = saga.isFresh ? [] : try await store.definitely { try await store.journal(of: id) }
        journal = CodeJournal(entries, isBack: saga.isBack)
        if journal.isBack { return try await turnBack(nil) }
        if journal.isCancelled { return try await turnBack(TandemError(.sagaCancelled, "an operator has cancelled the saga")) }
        return try await forward()
    }

    /// Runs the function forward.
    ///
    /// - Parameter isFinal: whether it is certain that there is no way back: then the deadline and wishes to cancel mean nothing.
    /// - Returns: how it ended; `nil` where it was given back.
    /// - Throws: as `run()` does.
    private func forward(isFinal: Bool = false) async throws -> SagaEnding? {
        let context = try await context(.forward)
        guard let result = try await beforeDeadline(of: isFinal ? nil : saga.timeLeft, { try await call(context) }) else {
            if context.state.withLock({ $0.isPastPivot }) { return try await reread(isBack: false).forward(isFinal: true) }
            return try await turnBack(TandemError(.deadlineExceeded, "the saga's deadline has passed", nextStep: "allow more time"))
        }
        let isPastPivot = isFinal || context.state.withLock { $0.isPastPivot }
        switch result {
        case .returned(let output): return try await finish(SagaMachine.End.completed.rawValue, output: output, error: nil)
        case .released(let time, let reason):
            try await engine.store.release(saga, after: time, waitsFor: reason, heedsDeadline: !isPastPivot)
            return nil
        case .failed(let error) where !isPastPivot: return try await turnBack(error)
        case .failed(let error), .mismatched(let error): return try await finish(SagaMachine.Stuck.forward.rawValue, output: nil, error: error)
        }
    }

    /// The same saga with its journal as it is now: what this run has written itself counts, too.
    private func reread(isBack: Bool) async throws -> CodeSagaRun {
        let entries = try await engine.store.definitely { try await engine.store.journal(of: saga.id) }
        var run = self
        run.journal = CodeJournal(entries, isBack: isBack)
        return run
    }

    private func context(_ mode: SagaContext.Mode) async throws -> SagaContext {
        // Of a saga that nobody else has run nothing is recorded that this run does not know; before it turns back it is looked at all the same.
        let recorded = saga.isFresh && mode == .forward ? [] : try await self.recorded().union(journal.steps)
        return SagaContext(engine, saga, holding, mode, journal, recorded: recorded)
    }

    /// The steps that are recorded on any node. All of them are asked: a step that is not known to be done must not be taken for one that is missing.
    private func recorded() async throws -> Set<String> {
        var steps: Set<String> = []
        for node in engine.cluster.configuration.nodes.map(\.name) {
            let result = try await engine.store.definitely(within: SagaStore.patience) {
                try await engine.cluster[node].result(
                    of: "SELECT step FROM tandem.saga_step WHERE saga_id = \(saga.id.description)::uuid AND op = 'd' AND status = 'd'")
            }
            for row in 0..<result.rowCount { if let step = result.text(row, 0) { steps.insert(step) } }
        }
        return steps
    }

    private func call(_ context: SagaContext) async throws -> Result {
        var returned: String?, thrown: (any Error)?
        do { returned = try await code.run(context, saga.input) } catch { thrown = error }
        // What the function does with an error changes nothing.
        let (unwinding, missing, requested) = context.state.withLock { ($0.unwinding, $0.expected, $0.requested) }
        if thrown is SagaStore.Fenced || holding.isLost { throw SagaStore.Fenced() }
        if case .released(let time, let reason) = unwinding { return .released(time, reason) }
        if case .mismatched(let error) = unwinding { return .mismatched(error) }
        if thrown != nil, unwinding == nil, Task.isCancelled { throw CancellationError() }
        // However it ended: what is recorded and was not asked for would be neither gone on with nor undone.
        let isOver = context.mode == .forward || !context.state.withLock { $0.isPastPivot }
        guard missing.isEmpty || !isOver else {
            return .mismatched(
                TandemError(
                    .sagaMismatch,
                    "steps \(missing.sorted().joined(separator: ", ")) are recorded and were not asked for; asked for were \(requested.sorted().joined(separator: ", "))",
                    nextStep: "run it with the version that began it, or give the changed function a new version; then `tandem saga retry \(saga.id)`"))
        }
        if case .failed(let error) = unwinding { return .failed(error) }
        if let thrown {
            return .failed(thrown as? TandemError ?? TandemError(.sagaStepFailed, "the saga's function threw \(thrown)", cause: thrown))
        }
        return .returned(returned ?? "null")
    }

    /// - Returns: `nil` where the saga's deadline came first.
    private func beforeDeadline<Value: Sendable>(of left: Duration?, _ body: @escaping @Sendable () async throws -> Value) async throws -> Value? {
        guard let left else { return try await body() }
        return try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await Task.sleep(for: max(.zero, left))
                return nil
            }
            defer { group.cancelAll() }
            return try await group.next() ?? nil
        }
    }

    // MARK: Back

    private func turnBack(_ cause: TandemError?) async throws -> SagaEnding? { try await reread(isBack: journal.isBack).goBack(cause) }

    private func goBack(_ cause: TandemError?) async throws -> SagaEnding? {
        let context = try await context(.barring)
        let result = try await call(context)
        let (undos, isPastPivot, trouble) = context.state.withLock { ($0.undos, $0.isPastPivot, $0.trouble) }
        if isPastPivot, !journal.isBack {
            // Somebody was faster: there is no way back.
            return try await reread(isBack: false).forward(isFinal: true)
        }
        // A step whose node does not answer may be done: the saga is tried again later.
        if let trouble { throw trouble }
        switch result {
        case .mismatched(let error):
            // Where it has not turned back yet, it may still go forward with the right version.
            let stuck: SagaMachine.Stuck = journal.isBack ? .compensation : .forward
            return try await finish(stuck.rawValue, output: nil, error: error)
        case .returned(let output) where cause?.code == .sagaCancelled && !journal.isBack:
            // All was done when somebody wanted it to turn back: too late.
            return try await finish(SagaMachine.End.completed.rawValue, output: output, error: nil)
        case .returned, .failed, .released: break
        }
        if !journal.isBack {
            await Failpoints.pass(.sagaBeforeTurn)
            try await engine.store.turnBack(saga, done: undos.map(\.step), error: cause?.json)
            await Failpoints.pass(.sagaAfterTurn)
        }
        return try await undo(undos, cause)
    }

    private func undo(_ undos: [SagaContext.Undo], _ cause: TandemError?) async throws -> SagaEnding? {
        var failure: TandemError?
        for undo in undos.reversed() where !journal.undone.contains(undo.step) {
            guard let run = undo.run else { continue }
            switch try await attempt(undo, run) {
            case .done: break
            case .released: return nil
            case .failed(let error):
                failure = error
                if code.undoFailure == .halt { return try await finish(SagaMachine.Stuck.compensation.rawValue, output: nil, error: error) }
            }
        }
        if let failure { return try await finish(SagaMachine.Stuck.compensation.rawValue, output: nil, error: failure) }
        return try await finish(SagaMachine.End.compensated.rawValue, output: nil, error: cause)
    }

    private enum Attempted {
        case done, released
        case failed(TandemError)
    }

    private func attempt(_ undo: SagaContext.Undo, _ run: @Sendable () async throws -> Void) async throws -> Attempted {
        let retry = SagaDefinition.Retry.persistent
        var count = journal.undoAttempts[undo.step] ?? 0
        while true {
            if holding.isLost { throw SagaStore.Fenced() }
            do {
                try await run()
                if undo.nodes.isEmpty { try await engine.store.append([JournalEntry(what: .undone, step: undo.step)], to: saga) }
                return .done
            } catch let error where !(error is SagaStore.Fenced) && !(error is CancellationError) {
                let failure =
                    error as? TandemError ?? TandemError(.sagaStepFailed, "what undoes the step \(undo.step) threw \(error)", phase: "undo", cause: error)
                count += 1
                try await engine.store.append([JournalEntry(what: .undoFailed, step: undo.step, attempt: count, error: failure.json)], to: saga)
                if count >= retry.attempts { return .failed(failure) }
                let delay = retry.delay(after: count)
                if delay > SagaRun.patience {
                    try await engine.store.release(saga, after: delay, waitsFor: "\(undo.step): \(failure.code)", heedsDeadline: false)
                    return .released
                }
                try await Task.sleep(for: delay)
            }
        }
    }

    private func finish(_ state: String, output: String?, error: TandemError?) async throws -> SagaEnding {
        if let output {
            do { try KeptJSON.checkSize(output, "what the saga returned") } catch { return try await finish(state, output: nil, error: error) }
        }
        let ending = SagaEnding(id: saga.id, epoch: saga.epoch, state: state, output: output, error: error?.json, course: nil)
        await Failpoints.pass(.sagaBeforeEnd)
        try await engine.store.end(ending)
        await Failpoints.pass(.sagaAfterEnd)
        engine.report(ending, error)
        return ending
    }
}
