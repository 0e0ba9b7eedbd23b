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
    }

    private let state = Locked(State())

    func open() { state.withLock { $0.isOpen = true } }

    /// Sends the runners home once nothing is left.
    func close() {
        let waiting = state.withLock { state in
            state.isOpen = false
            state.free = 0
            defer { state.runners = [] }
            return state.runners
        }
        for runner in waiting { runner.resume(returning: nil) }
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
    func push(_ saga: SagaRecord) {
        let runner = state.withLock { state -> CheckedContinuation<SagaRecord?, Never>? in
            if let runner = state.runners.popFirst() { return runner }
            state.sagas.append(saga)
            return nil
        }
        runner?.resume(returning: saga)
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
