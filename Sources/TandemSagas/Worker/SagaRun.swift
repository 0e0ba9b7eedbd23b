import Foundation
import Logging
import TandemCore
import TandemFailpoints

/// One saga in this worker's hands: from where it stands until it ends, has to wait for long, or belongs to somebody else.
///
/// It does what ``TandemCore/SagaMachine`` decides. Nothing here is needed to go on after a crash: what is durable is in the steps' records and in the journal.
struct SagaRun {
    /// What somebody in the task group has to tell.
    enum Event: Sendable {
        case did(Int, StepOutcome, start: ContinuousClock.Instant)
        case barred(Int, Result<StepRecord.Status, TandemError>)
        case undid(Int, StepOutcome, start: ContinuousClock.Instant)
        /// A pause is over.
        case due
        case deadline
    }

    enum Work: Hashable { case run, bar, undo }

    struct Attempt: Hashable {
        let step: Int
        let work: Work
    }

    /// What is tried again, and when.
    struct Pause {
        let attempt: Attempt
        /// `nil` for when somebody sends something.
        let due: ContinuousClock.Instant?
        let reason: String
    }

    /// How one step went, for whoever looks at the saga later.
    struct Course: Codable {
        var step: String
        var operation: String
        var attempts: Int
        var milliseconds: Double
    }

    /// Longer pauses are not waited for here.
    static let patience = Duration.seconds(2)
    /// The longest that a service may ask to be left alone.
    static let longestAsked = Duration.seconds(3600)

    let engine: SagaEngine
    let saga: SagaRecord
    let compiled: CompiledSaga
    let holding: HeldSagas.Holding
    var machine: SagaMachine
    var scope: SagaScope
    var attempts: [Attempt: Int] = [:]
    /// Outputs that an operator has given to steps.
    var resolved: [Int: String] = [:]
    /// Requests that may have been sent.
    var started: [Int: Duration] = [:]
    /// Requests that the service has refused the first time they were sent: they have not happened.
    var refused: Set<Int> = []
    var halted: Set<Int> = []
    var pauses: [Pause] = []
    var inFlight = 0
    var isBack = false
    var isCancelled = false
    /// Why it turns back, or is stuck.
    var cause: TandemError?
    var course: [Course] = []
    var ending: SagaEnding?
    var isOver = false

    init(_ engine: SagaEngine, _ saga: SagaRecord, _ compiled: CompiledSaga, _ holding: HeldSagas.Holding) throws {
        self.engine = engine
        self.saga = saga
        self.compiled = compiled
        self.holding = holding
        machine = SagaMachine(compiled.plan)
        do {
            scope = SagaScope(saga: saga.id, input: try JSON(reading: saga.input))
        } catch {
            throw TandemError(.decodingFailed, "the saga's input cannot be read: \(error)")
        }
    }

    /// Runs it.
    ///
    /// - Returns: how it ended, or where it is stuck; `nil` where it was given back to be run again later.
    /// - Throws: ``SagaStore/Fenced`` where it belongs to somebody else; `CancellationError`.
    mutating func run() async throws -> SagaEnding? {
        if saga.isSettled {
            try await releaseLocks()
            try await engine.store.close(saga)
            let ending = SagaEnding(id: saga.id, epoch: saga.epoch, state: saga.state, output: nil, error: nil, course: nil)
            engine.telemetry.ended(ending)
            return ending
        }
        try await resume()
        try await withThrowingTaskGroup(of: Event.self) { group in
            if !isBack, let left = saga.timeLeft {
                group.addTask {
                    try await Task.sleep(for: max(.zero, left))
                    return .deadline
                }
            }
            // A saga that was cancelled begins nothing, unless that came too late.
            var first = isCancelled && !isBack ? machine.on(.cancel) : []
            if first.isEmpty { first = machine.on(.begin) } else { cause = TandemError(.sagaCancelled, "an operator has cancelled the saga") }
            try await perform(first, &group)
            while !isOver {
                if inFlight == 0, try await pauseOrRelease(&group) { break }
                guard let event = try await group.next() else { break }
                try await take(event, &group)
            }
            group.cancelAll()
        }
        return ending
    }

    // MARK: Where it stands

    /// Reads what others have left.
    private mutating func resume() async throws {
        var done: Set<Int> = [], undone: Set<Int> = []
        if !saga.isFresh {
            // What operators said before it turned back was about the way forward.
            for entry in try await engine.store.definitely({ try await engine.store.journal(of: saga.id) }) { note(entry, &done, &undone) }
        }
        isBack = isBack || saga.isBack
        machine = SagaMachine(
            compiled.plan, done: done, undone: undone, isBack: isBack, continuesPastFailedUndo: compiled.definition.undoFailure == .continue)
    }

    private mutating func note(_ entry: JournalEntry, _ done: inout Set<Int>, _ undone: inout Set<Int>) {
        let step = entry.step.flatMap { name in compiled.steps.firstIndex { $0.name == name } }
        switch entry.what {
        case .failed: if let step { attempts[Attempt(step: step, work: .run)] = entry.attempt ?? 0 }
        case .undoFailed: if let step { attempts[Attempt(step: step, work: .undo)] = entry.attempt ?? 0 }
        case .started: if let step { started[step] = entry.age }
        case .done:
            guard let step else { return }
            done.insert(step)
            keep(entry.output ?? "null", of: step)
        case .undone: if let step { undone.insert(step) }
        case .turnedBack:
            isBack = true
            guard case .array(let names)? = entry.output.flatMap({ try? JSON(reading: $0) }) else { return }
            for case .string(let name) in names { if let step = compiled.steps.firstIndex(where: { $0.name == name }) { done.insert(step) } }
        case .retry: attempts = [:]
        case .skip: if let step { if isBack { undone.insert(step) } else { resolved[step] = "null" } }
        case .resolve: if let step { if isBack { undone.insert(step) } else { resolved[step] = entry.output ?? "null" } }
        case .cancel: isCancelled = true
        case .value: break
        }
    }

    mutating func keep(_ output: String, of step: Int) { scope.outputs[compiled.steps[step].name] = (try? JSON(reading: output)) ?? .null }

    func record(_ step: Int) -> StepRecord { StepRecord(saga: saga.id, step: compiled.steps[step].name, epoch: saga.epoch) }

    // MARK: Waiting

    /// Nothing is under way. Waits for the next attempt here if that comes soon, or gives the saga back.
    ///
    /// - Returns: whether it was given back.
    private mutating func pauseOrRelease(_ group: inout ThrowingTaskGroup<Event, any Error>) async throws -> Bool {
        let now = ContinuousClock.now
        let next = pauses.compactMap(\.due).min()
        if let next, next - now <= Self.patience { return false }
        guard let reason = pauses.first(where: { $0.due == next })?.reason else { return false }
        try await engine.store.release(saga, after: next.map { $0 - now }, waitsFor: reason, heedsDeadline: !isBack && !machine.isPastPivot)
        isOver = true
        return true
    }

    mutating func pause(_ attempt: Attempt, for time: Duration?, _ reason: String, _ group: inout ThrowingTaskGroup<Event, any Error>) {
        pauses.append(Pause(attempt: attempt, due: time.map { .now + $0 }, reason: reason))
        guard let time else { return }
        group.addTask {
            try await Task.sleep(for: time)
            return .due
        }
    }

    mutating func takeDue() -> [Attempt] {
        let now = ContinuousClock.now
        let due = pauses.filter { $0.due.map { $0 <= now } ?? false }.map(\.attempt)
        pauses.removeAll { due.contains($0.attempt) }
        return due
    }
}
