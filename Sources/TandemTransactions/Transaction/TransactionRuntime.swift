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
        /// The loops of `Cluster.run()` that pause, by number: any number of them may run.
        var waiters: [Int: CheckedContinuation<Void, Never>] = [:]
        var number = 0
        /// How often somebody was woken: a loop that looks away for a moment misses nothing.
        var wakes = 0
        var hasWarned = false
    }

    let permits = PreparedPermits()
    let deadlocks = DeadlockVictims()
    let telemetry: Telemetry
    private let rows = Locked<[NodeID: RowStatement]>([:])
    private let state = Locked(State())
    private let runners = Atomic<Int>(0)

    static func of(_ cluster: Cluster) -> TransactionRuntime {
        cluster.room(TransactionRuntime.self) { TransactionRuntime(Telemetry(cluster.configuration)) }
    }

    private init(_ telemetry: Telemetry) { self.telemetry = telemetry }

    /// The statement that inserts a branch's row on a node.
    func row(of node: NodeID, _ cluster: Cluster) throws -> RowStatement {
        try rows.withLock { rows in
            if let known = rows[node] { return known }
            let statement = try RowStatement(node: node, coordinator: cluster.coordinator)
            rows[node] = statement
            return statement
        }
    }

    func began(_ transaction: TransactionID) -> Bool { state.withLock { $0.live.insert(transaction).inserted } }
    func ended(_ transaction: TransactionID) {
        state.withLock { _ = $0.live.remove(transaction) }
        deadlocks.forget(transaction)
    }
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
        let waiters = state.withLock { state in
            state.wakes += 1
            defer { state.waiters = [:] }
            return state.waiters
        }
        for waiter in waiters.values { waiter.resume() }
    }

    /// How often somebody left something pending so far.
    var wakes: Int { state.withLock { $0.wakes } }

    /// Waits until somebody has left something pending since `wakes` was read, the time is over, or the task is cancelled.
    func pause(for time: Duration, after wakes: Int) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { try? await Task.sleep(for: time) }
            group.addTask { [self] in await self.untilWoken(after: wakes) }
            await group.next()
            group.cancelAll()
        }
    }

    private func untilWoken(after wakes: Int) async {
        let number = state.withLock { state in
            state.number += 1
            return state.number
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    if state.wakes != wakes || Task.isCancelled { return true }
                    state.waiters[number] = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiters.removeValue(forKey: number) }?.resume()
        }
    }
}
