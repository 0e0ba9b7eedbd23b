import Logging
import Synchronization
import TandemCluster
import TandemCore
import TandemPostgres

/// What the transactions of one process share.
final class TransactionRuntime: Sendable {
    private struct State {
        /// Transactions under way here: recovery of this process leaves them alone.
        var live: Set<TransactionID> = []
        var waiter: CheckedContinuation<Void, Never>?
        var isWoken = false
        var hasWarned = false
    }

    let permits = PreparedPermits()
    private let state = Locked(State())
    private let runners = Atomic<Int>(0)

    static func of(_ cluster: Cluster) -> TransactionRuntime {
        cluster.room(TransactionRuntime.self) { TransactionRuntime() }
    }

    func began(_ transaction: TransactionID) -> Bool { state.withLock { $0.live.insert(transaction).inserted } }
    func ended(_ transaction: TransactionID) { state.withLock { _ = $0.live.remove(transaction) } }
    func isLive(_ transaction: TransactionID) -> Bool { state.withLock { $0.live.contains(transaction) } }

    /// A transaction ended here with branches that somebody has to finish.
    func leftPending(_ transaction: TransactionID, _ nodes: [NodeName], _ cluster: Cluster) {
        let isRunning = runners.load(ordering: .relaxed) > 0
        let mustWarn = state.withLock { state in
            defer { state.hasWarned = true }
            return !isRunning && !state.hasWarned
        }
        if mustWarn {
            cluster.configuration.logger.warning(
                "a branch is left to recovery and this program runs none: call Cluster.run(), or run `tandem serve`",
                metadata: ["tandem.transaction": "\(transaction)", "tandem.nodes": "\(nodes.map(\.rawValue))"])
        }
        wake()
    }

    // MARK: The loop of Cluster.run()

    func runnerStarted() { runners.add(1, ordering: .relaxed) }
    func runnerEnded() { runners.subtract(1, ordering: .relaxed) }

    private func wake() {
        let waiter = state.withLock { state in
            state.isWoken = true
            defer { state.waiter = nil }
            return state.waiter
        }
        waiter?.resume()
    }

    /// Waits until somebody left something pending, the time is over, or the task is cancelled.
    func pause(for time: Duration) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await Task.sleep(for: time) }
            group.addTask { [self] in await self.untilWoken() }
            await group.next()
            group.cancelAll()
        }
    }

    private func untilWoken() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isWoken = state.withLock { state in
                    if state.isWoken || Task.isCancelled {
                        state.isWoken = false
                        return true
                    }
                    state.waiter = continuation
                    return false
                }
                if isWoken { continuation.resume() }
            }
        } onCancel: {
            let waiter = state.withLock { state in
                defer { state.waiter = nil }
                return state.waiter
            }
            waiter?.resume()
        }
    }
}
