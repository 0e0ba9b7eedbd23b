import TandemPostgres

/// Who waits in this process for the end of a saga that runs in it.
final class SagaWatchers: Sendable {
    private struct Watcher {
        let number: Int
        let continuation: CheckedContinuation<SagaEnding?, Never>
    }

    private struct State {
        var number = 0
        var watchers: [SagaID: [Watcher]] = [:]
    }

    private let state = Locked(State())

    /// Waits until somebody tells how the saga ended, or that it is no longer here.
    ///
    /// - Parameters:
    ///   - id: the saga.
    ///   - start: called once nothing can be missed any more.
    /// - Returns: its end; `nil` where it went on elsewhere, or the task was cancelled.
    func wait(for id: SagaID, after start: () -> Void) async -> SagaEnding? {
        let number = state.withLock { state in
            state.number += 1
            return state.number
        }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isCancelled = state.withLock { state in
                    if Task.isCancelled { return true }
                    state.watchers[id, default: []].append(Watcher(number: number, continuation: continuation))
                    return false
                }
                if isCancelled { continuation.resume(returning: nil) }
                start()
            }
        } onCancel: {
            let found = state.withLock { state -> Watcher? in
                guard let index = state.watchers[id]?.firstIndex(where: { $0.number == number }) else { return nil }
                return state.watchers[id]?.remove(at: index)
            }
            found?.continuation.resume(returning: nil)
        }
    }

    func tell(_ id: SagaID, _ ending: SagaEnding?) {
        let watchers = state.withLock { $0.watchers.removeValue(forKey: id) }
        for watcher in watchers ?? [] { watcher.continuation.resume(returning: ending) }
    }
}
