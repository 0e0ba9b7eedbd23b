import Synchronization
import TandemCluster
import TandemCore
import TandemLocal
import TandemPostgres
import TandemTestKit
import TandemTransactions

/// Does what the schedule says, and heals it.
final class Nemesis: Sendable {
    private static let patience = Duration.seconds(5)
    /// Sessions that are ended or cancelled at a time.
    private static let sessions = 6

    private let local: LocalCluster
    private let cluster: Cluster
    private let coordinators: [CoordinatorProcess]
    /// The connections of each coordinator to each node.
    private let proxies: [[FaultProxy]]
    private let history: HistoryWriter
    private let watch: PreparedWatch
    private let progress: @Sendable (String) -> Void
    private let happened = Mutex<[FaultKind: Int]>([:])

    init(
        _ local: LocalCluster, _ cluster: Cluster, _ coordinators: [CoordinatorProcess], _ proxies: [[FaultProxy]], _ history: HistoryWriter,
        _ watch: PreparedWatch, _ progress: @Sendable @escaping (String) -> Void
    ) {
        (self.local, self.cluster, self.coordinators, self.proxies) = (local, cluster, coordinators, proxies)
        (self.history, self.watch, self.progress) = (history, watch, progress)
    }

    /// How often each kind has happened.
    var counts: [FaultKind: Int] { happened.withLock { $0 } }

    /// Runs the schedule to its end; everything is healed then.
    ///
    /// - Parameters:
    ///   - schedule: what happens when.
    ///   - start: when it began.
    /// - Throws: `localNodeFailed` where something cannot be brought back. Cancellation stops it at the next fault and leaves what it did to whoever ends the nodes.
    func run(_ schedule: FaultSchedule, from start: ContinuousClock.Instant) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            // A target is left alone until it is healed, however long that takes on a slow machine.
            for faults in Dictionary(grouping: schedule.faults, by: { [$0.kind.isOfNode ? 0 : 1, $0.target] }).values {
                group.addTask {
                    for fault in faults { try await self.perform(fault, at: start + .milliseconds(fault.start), start) }
                }
            }
            for try await _ in group {}
        }
    }

    private func perform(_ fault: FaultSchedule.Fault, at time: ContinuousClock.Instant, _ start: ContinuousClock.Instant) async throws {
        try await Task.sleep(until: time)
        let name = fault.kind.isOfNode ? local.nodes[fault.target].name.rawValue : fault.kind == .recovery ? "all" : "coordinator \(fault.target + 1)"
        let seconds = Double((ContinuousClock.now - start).inSeconds * 10).rounded() / 10
        let others = fault.coordinators.map { String($0 + 1) }.joined(separator: ", ")
        progress("\(seconds) s: \(fault.kind.rawValue) \(name)" + (others.isEmpty ? "" : " from coordinator \(others)"))
        try history.write(HistoryLine.fault(fault.kind, target: name, isHealed: false))
        let isDone =
            if fault.kind.isOfNode { try await strike(fault, local.nodes[fault.target].name) } else { try await strike(fault) }
        try history.write(HistoryLine.fault(fault.kind, target: name, isHealed: true))
        watch.healed()
        if isDone { happened.withLock { $0[fault.kind, default: 0] += 1 } }
    }

    /// A fault of a node; whether it happened.
    private func strike(_ fault: FaultSchedule.Fault, _ node: NodeName) async throws -> Bool {
        let time = Duration.milliseconds(fault.duration)
        let own = proxies.map { $0[fault.target] }
        switch fault.kind {
        case .kill:
            try await local.kill(node)
            try await Task.sleep(for: time)
            try await local.start(node)
        case .restart:
            try await local.restart(node)
        case .pause:
            try await local.pause(node)
            try await Task.sleep(for: time)
            try local.resume(node)
        case .partition:
            let cut = fault.coordinators.reduce(0) { $0 + own[$1].partition() }
            try await Task.sleep(for: time)
            for coordinator in fault.coordinators { own[coordinator].heal() }
            return cut > 0
        case .reset:
            return own.reduce(0) { $0 + $1.resetAll() } > 0
        case .loss:
            return try await disturb(own, time) { proxy in
                for tag in ["PREPARE TRANSACTION", "COMMIT"] { proxy.arm(FaultRule(on: .complete(tag), .dropReply, times: 2)) }
            }
        case .delay:
            return try await disturb(own, time) { $0.arm(FaultRule(on: .execute(""), .delay(.milliseconds(15)), times: nil)) }
        case .terminate: return try await sessions("pg_terminate_backend", node, "true")
        case .cancel: return try await sessions("pg_cancel_backend", node, "a.state = 'active'")
        case .coordinator, .suspend, .recovery: return false
        }
        return true
    }

    /// A fault of a coordinator; whether it happened.
    private func strike(_ fault: FaultSchedule.Fault) async throws -> Bool {
        switch fault.kind {
        case .coordinator:
            await coordinators[fault.target].kill()
            try await Task.sleep(for: .milliseconds(fault.duration))
            try coordinators[fault.target].start()
        case .suspend:
            return try await coordinators[fault.target].suspend(milliseconds: fault.duration)
        case .recovery:
            for _ in 0..<3 { _ = await cluster.recover(grace: .zero) }
        case .kill, .restart, .pause, .partition, .reset, .loss, .delay, .terminate, .cancel: return false
        }
        return true
    }

    /// Arms rules for a time; whether any of them was met.
    private func disturb(_ proxies: [FaultProxy], _ time: Duration, _ arm: (FaultProxy) -> Void) async throws -> Bool {
        let before = proxies.reduce(0) { $0 + $1.fired }
        for proxy in proxies { arm(proxy) }
        try await Task.sleep(for: max(time, .seconds(1)))
        for proxy in proxies { proxy.disarm() }
        return proxies.reduce(0) { $0 + $1.fired } > before
    }

    /// Ends or cancels what some sessions of the coordinators do, as soon as there are any; whether there were.
    private func sessions(_ function: String, _ node: NodeName, _ condition: String) async throws -> Bool {
        let statement = Statement(
            """
            SELECT count(*) FILTER (WHERE pg_catalog.\(function)(s.pid)) FROM (
                SELECT a.pid FROM pg_catalog.pg_stat_activity a
                WHERE a.datname = pg_catalog.current_database() AND a.pid <> pg_catalog.pg_backend_pid() AND a.backend_type = 'client backend' AND \(condition)
                ORDER BY pg_catalog.random() LIMIT \(Self.sessions)) s
            """, isPrepared: false)
        let deadline = ContinuousClock.now + Self.patience
        while ContinuousClock.now < deadline {
            let reply = try? await cluster.runControl(node, Batch([statement]), within: Self.patience).only
            if let count = reply?.results.last?.text(0, 0).flatMap({ Int($0) }), count > 0 { return true }
            try await Task.sleep(for: .milliseconds(5))
        }
        return false
    }
}
