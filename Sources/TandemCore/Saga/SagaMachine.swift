/// One saga's course: it decides what is done, barred and undone, in which order, and somebody else does it.
///
/// Any number of workers may believe that a saga is theirs; what makes that harmless:
/// - A step's effect and its record are one transaction, so a `do` happens once, whoever sends it, and so does an `undo`.
/// - Only the worker with the newest epoch can make it durable that the saga turns back. From then on each step whose needs are done, and that is not done itself, is
///   *barred*: its record is written without its effect, and a late `do` finds it and is refused. A `do` that was faster is found instead (``Event/foundDone(_:)``):
///   it is undone like the others, and the steps that need it are barred first. Whatever needs a barred step can never begin. So after the barring the steps
///   that are done are known, and nothing is added to them.
/// - The pivot is barred before the saga turns back. If it is found done, then all that comes before it is done, too, and the saga goes on forward.
///
/// Source: the order of `do`, barrier and `undo` is that of the empty compensation and the suspended request in TCC ("fence" tables as in Seata's TCC mode).
///
/// ```swift
/// var machine = SagaMachine(plan)
/// var actions = machine.on(.begin)         // [.run(0)]
/// actions = machine.on(.failed(0))         // [.turnBack(done: [])]
/// actions = machine.on(.turnedBack)        // [.bar(0)]
/// actions = machine.on(.barred(0))         // [.finish(.compensated)]
/// ```
package struct SagaMachine: Hashable, Sendable {
    /// What has happened.
    package enum Event: Hashable, Sendable {
        case begin
        /// The `do` of a step has happened, now or before.
        case done(Int)
        /// The `do` of a step will not be tried again, and has not happened as far as anybody knows.
        case failed(Int)
        /// The answer to ``Action/bar(_:)``: it can never happen any more.
        case barred(Int)
        /// The answer to ``Action/bar(_:)``: it had happened.
        case foundDone(Int)
        /// The answer to ``Action/turnBack(done:)``: it is durable.
        case turnedBack
        /// The answer to ``Action/undo(_:)``.
        case undone(Int)
        /// The `undo` of a step will not be tried again without an operator.
        case undoFailed(Int)
        /// Somebody wants the saga to turn back, or its deadline has passed.
        case cancel
    }

    /// What to do next.
    package enum Action: Hashable, Sendable {
        /// Run the step's `do`.
        case run(Int)
        /// Give up waiting for another attempt of the step, and say how it ended.
        case halt(Int)
        /// Write the step's record without its effect.
        case bar(Int)
        /// Make it durable that the saga turns back, with the steps that are known to be done.
        case turnBack(done: [Int])
        /// Run the step's `undo`.
        case undo(Int)
        /// The saga has ended.
        case finish(End)
        /// Only an operator can say how it goes on; nothing is under way.
        case park(Stuck)
    }

    /// How a saga ends.
    package enum End: String, Hashable, Sendable {
        case completed
        case compensated
    }

    /// Where a saga is stuck.
    package enum Stuck: String, Hashable, Sendable {
        /// Behind its pivot a step fails.
        case forward = "stuck_forward"
        /// A step cannot be undone.
        case compensation = "stuck_compensation"
    }

    private enum Course: Hashable, Sendable {
        case forward
        /// Something failed or was cancelled: nothing new begins, and what is under way ends.
        case stopping
        /// It must be known whether the pivot is done.
        case barringPivot
        case turning
        case barring
        case undoing
        case ended
    }

    private enum State: Hashable, Sendable {
        case waiting, running, done, failed, barring, barred, undoing, undone, undoFailed
    }

    private let plan: SagaPlan
    /// Whether the others are undone although one cannot be.
    private let continuesPastFailedUndo: Bool
    private var course: Course
    private var states: [State]

    /// A saga from its beginning, or from where somebody else has left it.
    ///
    /// - Parameters:
    ///   - plan: its steps.
    ///   - done: steps that are known to be done. Others may be, too: their records tell when they are run or barred.
    ///   - undone: steps that are known to be undone, or whose undoing an operator has waived.
    ///   - isBack: whether it has turned back.
    ///   - continuesPastFailedUndo: whether the others are undone although one cannot be.
    package init(_ plan: SagaPlan, done: Set<Int> = [], undone: Set<Int> = [], isBack: Bool = false, continuesPastFailedUndo: Bool = false) {
        self.plan = plan
        self.continuesPastFailedUndo = continuesPastFailedUndo
        course = isBack ? .barring : .forward
        states = plan.steps.indices.map { undone.contains($0) ? .undone : done.contains($0) ? .done : .waiting }
    }

    /// Whether the saga only goes forward.
    package var isPastPivot: Bool { plan.pivot.map { states[$0] == .done } ?? false }
    /// Whether it has turned back, or is about to.
    package var isBack: Bool { course != .forward && course != .ended }
    /// The steps that are done and not undone.
    package var done: [Int] { states.indices.filter { states[$0] == .done } }

    package mutating func on(_ event: Event) -> [Action] {
        switch event {
        case .begin: break
        case .done(let step): states[step] = .done
        case .failed(let step):
            states[step] = .failed
            if course == .forward { return stop() }
        case .barred(let step): states[step] = .barred
        case .foundDone(let step): found(step)
        case .turnedBack: course = .barring
        case .undone(let step): states[step] = .undone
        case .undoFailed(let step): states[step] = .undoFailed
        case .cancel:
            guard course == .forward, !isPastPivot else { return [] }
            return stop()
        }
        return proceed()
    }

    // MARK: Deciding

    /// Nothing new begins. What is under way is not interrupted, only not tried again.
    private mutating func stop() -> [Action] {
        course = .stopping
        let running = states.indices.filter { states[$0] == .running }
        return running.isEmpty ? proceed() : running.map { .halt($0) }
    }

    private mutating func found(_ step: Int) {
        states[step] = .done
        guard step == plan.pivot else { return }
        // A pivot is run only when all that it needs is done: somebody else has seen that.
        for before in plan.ancestors(of: step) { states[before] = .done }
    }

    private mutating func proceed() -> [Action] {
        switch course {
        case .forward: return forward()
        case .stopping: return stopped()
        case .barringPivot: return pivotKnown()
        case .turning, .ended: return []
        case .barring: return bar()
        case .undoing: return undo()
        }
    }

    private mutating func forward() -> [Action] {
        if states.allSatisfy({ $0 == .done }) {
            course = .ended
            return [.finish(.completed)]
        }
        return start(ready(), as: .running) { .run($0) }
    }

    private mutating func stopped() -> [Action] {
        guard !states.contains(.running) else { return [] }
        if isPastPivot {
            // What ran beside the failed step may have ended meanwhile; the failed one is what an operator has to look at.
            guard states.contains(.failed) else {
                course = .forward
                return forward()
            }
            course = .ended
            return [.park(.forward)]
        }
        if states.allSatisfy({ $0 == .done }) {
            // All was done when somebody wanted it to turn back: too late.
            course = .ended
            return [.finish(.completed)]
        }
        guard let pivot = plan.pivot, states[pivot] != .barred else { return turn() }
        course = .barringPivot
        states[pivot] = .barring
        return [.bar(pivot)]
    }

    private mutating func pivotKnown() -> [Action] {
        guard let pivot = plan.pivot, states[pivot] == .done else { return turn() }
        course = .forward
        return forward()
    }

    private mutating func turn() -> [Action] {
        course = .turning
        return [.turnBack(done: done)]
    }

    private mutating func bar() -> [Action] {
        let open = states.indices.filter { (states[$0] == .waiting || states[$0] == .failed) && isReady($0) }
        if !open.isEmpty { return start(open, as: .barring) { .bar($0) } }
        guard !states.contains(.barring) else { return [] }
        course = .undoing
        return undo()
    }

    private mutating func undo() -> [Action] {
        let hasFailed = states.contains(.undoFailed)
        var actions: [Action] = []
        if !hasFailed || continuesPastFailedUndo {
            // A step without an undo counts as undone at once, which may free those before it.
            while let step = states.indices.first(where: { states[$0] == .done && !plan.steps[$0].hasUndo && isFree($0) }) { states[step] = .undone }
            let open = states.indices.filter { states[$0] == .done && isFree($0) }
            actions = start(open.reversed(), as: .undoing) { .undo($0) }
        }
        if !actions.isEmpty || states.contains(.undoing) { return actions }
        course = .ended
        return [hasFailed ? .park(.compensation) : .finish(.compensated)]
    }

    /// Whether all that came after it is undone, or as far undone as it can be.
    private func isFree(_ step: Int) -> Bool {
        plan.dependents[step].allSatisfy { states[$0] != .done && states[$0] != .undoing && (states[$0] != .undoFailed || continuesPastFailedUndo) }
    }

    private func isReady(_ step: Int) -> Bool { plan.steps[step].needs.allSatisfy { states[$0] == .done || states[$0] == .undone } }

    private func ready() -> [Int] { states.indices.filter { states[$0] == .waiting && isReady($0) } }

    private mutating func start(_ steps: [Int], as state: State, _ action: (Int) -> Action) -> [Action] {
        for step in steps { states[step] = state }
        return steps.map(action)
    }
}
