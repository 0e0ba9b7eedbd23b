import Glibc
import Synchronization

/// One armed specification and the tasks that wait because of it: does what ``FailpointSpecification`` decides.
final class FailpointPlan: Sendable {
    private enum Role {
        /// Is held at the point, until it is released.
        case held
        /// Waits until somebody is held there.
        case watching
    }

    private struct Waiter {
        let point: Failpoint
        let role: Role
        let continuation: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var specification: FailpointSpecification
        var waiters: [Int: Waiter] = [:]
        var tickets = 0
        var isOver = false

        mutating func ticket() -> Int {
            tickets += 1
            return tickets
        }

        mutating func remove(_ role: Role, at point: Failpoint) -> [Waiter] {
            let found = waiters.filter { $0.value.role == role && $0.value.point == point }
            for ticket in found.keys { waiters[ticket] = nil }
            return Array(found.values)
        }
    }

    private let state: Mutex<State>

    init(_ specification: FailpointSpecification) {
        state = Mutex(State(specification: specification))
    }

    /// Hits of all points since this plan was armed.
    var hits: Int {
        state.withLock { $0.specification.hits }
    }

    /// Counts one hit of `point` and does what is armed there.
    nonisolated(nonsending) func hit(_ point: Failpoint) async throws {
        let actions = state.withLock { $0.isOver ? [] : $0.specification.hit(point) }
        for action in actions {
            switch action {
            case .off: break
            case .kill: Self.end()
            case .stop: Self.stop()
            case .error: throw FailpointError.injected(point)
            case .delay(let duration): await Self.sleep(duration)
            case .hold: _ = await wait(.held, at: point)
            }
        }
    }

    /// Waits until a task is held at `point`; false where that can no longer happen, since the plan is over or the task is cancelled.
    nonisolated(nonsending) func held(_ point: Failpoint) async -> Bool {
        await wait(.watching, at: point)
    }

    /// Lets all tasks go on that are held at `point` now, and says how many these were.
    func release(_ point: Failpoint) -> Int {
        let held = state.withLock { $0.remove(.held, at: point) }
        for waiter in held { waiter.continuation.resume(returning: true) }
        return held.count
    }

    /// Nothing happens at any point from now on, and whoever waits goes on.
    func finish() {
        let waiters = state.withLock { state in
            state.isOver = true
            defer { state.waiters = [:] }
            return state.waiters
        }
        for waiter in waiters.values { waiter.continuation.resume(returning: false) }
    }

    /// Waits in `role`. A cancelled task does not wait, and is not told of it by an error: a held task must go on exactly as one that
    /// was only slow, and find out about its cancellation where it looks for it.
    private nonisolated(nonsending) func wait(_ role: Role, at point: Failpoint) async -> Bool {
        let ticket = state.withLock { $0.ticket() }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                enter(ticket, Waiter(point: point, role: role, continuation: continuation))
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: ticket) }?.continuation.resume(returning: false)
        }
    }

    private func enter(_ ticket: Int, _ waiter: Waiter) {
        let answer: (isWaiting: Bool, isHeld: Bool, watchers: [Waiter]) = state.withLock { state in
            // The cancellation handler runs after the task's flag is set. Whoever sees the flag down here is entered before the handler
            // can take the lock, so the handler finds him; whoever sees it up does not wait. Nobody is missed.
            guard !state.isOver, !Task.isCancelled else { return (false, false, []) }
            switch waiter.role {
            case .held:
                state.waiters[ticket] = waiter
                return (true, true, state.remove(.watching, at: waiter.point))
            case .watching:
                let isHeld = state.waiters.values.contains { $0.role == .held && $0.point == waiter.point }
                if !isHeld { state.waiters[ticket] = waiter }
                return (!isHeld, isHeld, [])
            }
        }
        if !answer.isWaiting { waiter.continuation.resume(returning: answer.isHeld) }
        for watcher in answer.watchers { watcher.continuation.resume(returning: true) }
    }

    private nonisolated(nonsending) static func sleep(_ duration: Duration) async {
        do {
            try await Task.sleep(for: duration)
        } catch {
            // Cancelled: the delay is over. As with a hold, the code behind the failpoint finds out by itself.
        }
    }

    /// Ends this process at this very instruction.
    private static func end() -> Never {
        raise(SIGKILL)
        // The kernel ends the thread on its way back from the call.
        fatalError("SIGKILL was survived")
    }

    /// Stops this process. `raise` and not `kill`: a signal to the process may be taken by another thread, and this one would go on for a
    /// moment, past the point where it was to stop.
    private static func stop() {
        raise(SIGSTOP)
    }
}
