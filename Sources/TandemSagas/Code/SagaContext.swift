import Foundation
import TandemCore
import TandemFailpoints
import TandemPostgres
import TandemTransactions

/// What the function of a saga in Swift does its steps with.
public final class SagaContext: Sendable {
    /// Why the function is left before its end.
    enum Unwinding: Error {
        /// A step has failed for good, or is barred.
        case failed(TandemError)
        /// It waits, and is run again when the time is over, or when somebody sends something.
        case released(after: Duration?, waitsFor: String)
        /// The function asks for other steps than those that are recorded.
        case mismatched(TandemError)
    }

    /// What becomes of steps that are not done.
    enum Mode: Sendable {
        case forward
        /// They are barred: the saga is about to turn back.
        case barring
    }

    /// What undoes a step that is done.
    struct Undo: Sendable {
        let step: String
        let nodes: [NodeName]
        /// Tries once; `nil` where nothing has to be undone.
        let run: (@Sendable () async throws -> Void)?
    }

    struct State {
        var requested: Set<String> = []
        var inFlight = 0
        var isPivotInFlight = false
        var isPastPivot = false
        var unwinding: Unwinding?
        var undos: [Undo] = []
        /// Steps that are recorded and that the function has not asked for yet.
        var expected: Set<String> = []
        /// What kept a step from being barred: the saga does not turn back before that is known.
        var trouble: (any Error)?
    }

    /// How long a new step waits for those that are recorded to be asked for: they may be asked for beside it.
    static let patience = Duration.seconds(5)

    /// The saga.
    public let id: SagaID
    let engine: SagaEngine
    let record: SagaRecord
    let holding: HeldSagas.Holding
    let mode: Mode
    /// What the journal says of steps that no database records: their outputs, and which requests may have been sent.
    let outputs: [String: String]
    let started: [String: Duration]
    /// What operators have said of steps.
    let resolved: [String: String]
    let attempts: [String: Int]
    let state: Locked<State>

    init(_ engine: SagaEngine, _ record: SagaRecord, _ holding: HeldSagas.Holding, _ mode: Mode, _ journal: CodeJournal, recorded: Set<String>) {
        id = record.id
        self.engine = engine
        self.record = record
        self.holding = holding
        self.mode = mode
        outputs = journal.outputs
        started = journal.started
        resolved = journal.resolved
        attempts = journal.attempts
        var state = State()
        state.expected = recorded
        self.state = Locked(state)
    }

    // MARK: Asking

    /// Notes that a step is asked for, and refuses what would break a rule.
    func begin(_ name: String, isPivot: Bool = false) throws {
        let problem: String? = state.withLock { state in
            if !state.requested.insert(name).inserted { return "the step \(name) is asked for twice" }
            if isPivot && state.inFlight > 0 { return "the pivot \(name) is asked for while other steps run" }
            if state.isPivotInFlight { return "the step \(name) is asked for while the pivot runs" }
            if isPivot && state.isPastPivot { return "the saga has a second pivot, \(name)" }
            state.inFlight += 1
            state.isPivotInFlight = isPivot
            state.expected.remove(name)
            return nil
        }
        if let problem { throw unwind(.failed(TandemError(.configurationInvalid, problem, nextStep: "give each step a name of its own; see docs/sagas.md"))) }
        // In the run that bars, each step that is asked for has to be barred or found, whatever became of the others.
        if mode == .forward, let unwinding = state.withLock({ $0.unwinding }) { throw unwinding }
        if holding.isLost { throw SagaStore.Fenced() }
    }

    func end(isPivot: Bool = false, isDone: Bool) {
        state.withLock { state in
            state.inFlight -= 1
            if isPivot { (state.isPivotInFlight, state.isPastPivot) = (false, isDone) }
        }
    }

    /// The function is left, whatever it does with the error.
    func unwind(_ unwinding: Unwinding) -> Unwinding {
        state.withLock { state in
            if let first = state.unwinding { return first }
            state.unwinding = unwinding
            return unwinding
        }
    }

    /// Before a step is done for the first time: all that is recorded has to be asked for, before it or beside it.
    func expectNothingElse(_ name: String) async throws {
        let deadline = ContinuousClock.now + Self.patience
        while case let missing = state.withLock({ $0.expected }), !missing.isEmpty {
            guard ContinuousClock.now < deadline else {
                let requested = state.withLock { $0.requested }.sorted()
                throw unwind(
                    .mismatched(
                        TandemError(
                            .sagaMismatch,
                            "steps \(missing.sorted().joined(separator: ", ")) are recorded and were not asked for; asked for were \(requested.joined(separator: ", "))",
                            nextStep: "run it with the version that began it, or give the changed function a new version; then `tandem saga retry \(id)`")))
            }
            try await Task.sleep(for: .milliseconds(20))
        }
    }

    func add(_ undo: Undo) { state.withLock { $0.undos.append(undo) } }

    func stepRecord(_ name: String) -> StepRecord { StepRecord(saga: id, step: name, epoch: record.epoch) }

    // MARK: Trying again

    /// Runs an attempt until it is done, barred or failed for good.
    func attempt(_ name: String, _ retry: SagaDefinition.Retry, isPersistent: Bool, _ body: (_ isFirst: Bool) async throws -> String) async throws -> String {
        var count = attempts[name] ?? 0
        while true {
            if holding.isLost { throw SagaStore.Fenced() }
            do {
                return try await body(record.isFresh && count == 0)
            } catch let barred as Barred {
                _ = barred
                throw unwind(.failed(TandemError(.sagaStepBarred, "the step \(name) is barred: another worker has turned the saga back")))
            } catch let unwinding as Unwinding {
                throw unwinding
            } catch let fenced as SagaStore.Fenced {
                throw fenced
            } catch let cancelled as CancellationError {
                throw cancelled
            } catch {
                let failure = error as? TandemError ?? TandemError(.sagaStepFailed, "the step \(name) threw \(error)", phase: "step", cause: error)
                guard case .retry(let error, _) = failure.outcome(retry, isPersistent: isPersistent) else { throw unwind(.failed(failure)) }
                count += 1
                try await engine.store.append([JournalEntry(what: .failed, step: name, attempt: count, error: error.json)], to: record)
                if count >= retry.attempts { throw unwind(.failed(error)) }
                let delay = retry.delay(after: count)
                if delay > SagaRun.patience { throw unwind(.released(after: delay, waitsFor: "\(name): \(error.code)")) }
                try await Task.sleep(for: delay)
            }
        }
    }
}

/// What a saga's journal says to the context of a saga in Swift.
struct CodeJournal: Sendable {
    var outputs: [String: String] = [:]
    var started: [String: Duration] = [:]
    var resolved: [String: String] = [:]
    var attempts: [String: Int] = [:]
    var undoAttempts: [String: Int] = [:]
    var undone: Set<String> = []
    var isBack: Bool
    var isCancelled = false

    init(_ entries: [JournalEntry], isBack: Bool) {
        var turned = false
        defer { self.isBack = turned || isBack }
        self.isBack = isBack
        for entry in entries {
            let step = entry.step ?? ""
            switch entry.what {
            case .failed: attempts[step] = entry.attempt ?? 0
            case .undoFailed: undoAttempts[step] = entry.attempt ?? 0
            case .started: started[step] = entry.age
            case .done, .value: if outputs[step] == nil { outputs[step] = entry.output ?? "null" }
            case .undone: undone.insert(step)
            case .turnedBack: turned = true
            case .retry: (attempts, undoAttempts) = ([:], [:])
            // What operators said before it turned back was about the way forward.
            case .skip: if turned { undone.insert(step) } else { resolved[step] = "null" }
            case .resolve: if turned { undone.insert(step) } else { resolved[step] = entry.output ?? "null" }
            case .cancel: isCancelled = true
            }
        }
    }

    /// The steps of which it tells.
    var steps: Set<String> { Set(outputs.keys).union(started.keys) }
}
