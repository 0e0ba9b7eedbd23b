import DequeModule
import TandemPostgres

/// Sagas that this worker has claimed, until one of its runners takes them.
final class SagaQueue: Sendable {
    private struct State {
        var sagas: Deque<SagaRecord> = []
        var runners: Deque<CheckedContinuation<SagaRecord?, Never>> = []
        /// Runners that wait or are promised to a saga that is just being started.
        var free = 0
        var isOpen = false
        /// Which worker has opened it: one that ends late closes none but its own.
        var generation = 0
    }

    private let state = Locked(State())

    /// Opens it for a worker's runners.
    ///
    /// - Returns: what closes it; `nil` where another worker of this process has it.
    func open() -> Int? {
        state.withLock { state in
            if state.isOpen { return nil }
            state.isOpen = true
            state.generation += 1
            return state.generation
        }
    }

    /// Sends the runners home once nothing is left.
    ///
    /// - Returns: sagas that no runner has taken.
    @discardableResult
    func close(_ generation: Int) -> [SagaRecord] {
        let (waiting, left) = state.withLock { state -> (Deque<CheckedContinuation<SagaRecord?, Never>>, Deque<SagaRecord>) in
            guard state.generation == generation, state.isOpen else { return ([], []) }
            state.isOpen = false
            state.free = 0
            defer { (state.runners, state.sagas) = ([], []) }
            return (state.runners, state.sagas)
        }
        for runner in waiting { runner.resume(returning: nil) }
        return Array(left)
    }

    /// Takes free runners for sagas that are about to come.
    ///
    /// - Parameter most: how many are wanted.
    /// - Returns: how many there are; each must be followed by ``push(_:)`` or ``giveBack(_:)``.
    func reserve(_ most: Int) -> Int {
        state.withLock { state in
            let count = state.isOpen ? min(most, state.free) : 0
            state.free -= count
            return count
        }
    }

    func giveBack(_ count: Int) { state.withLock { if $0.isOpen { $0.free += count } } }

    /// Hands a saga to a runner that was reserved for it.
    ///
    /// - Returns: whether there still are runners; where there are none, it is anybody's when its lease is over.
    @discardableResult
    func push(_ saga: SagaRecord) -> Bool {
        let (runner, isTaken) = state.withLock { state -> (CheckedContinuation<SagaRecord?, Never>?, Bool) in
            guard state.isOpen else { return (nil, false) }
            if let runner = state.runners.popFirst() { return (runner, true) }
            state.sagas.append(saga)
            return (nil, true)
        }
        runner?.resume(returning: saga)
        return isTaken
    }

    /// The next saga for a runner; `nil` when the worker ends.
    func next() async -> SagaRecord? {
        await withCheckedContinuation { continuation in
            let now: SagaRecord?? = state.withLock { state in
                guard state.isOpen else { return .some(nil) }
                state.free += 1
                if let saga = state.sagas.popFirst() { return saga }
                state.runners.append(continuation)
                return nil
            }
            if let now { continuation.resume(returning: now) }
        }
    }
}
