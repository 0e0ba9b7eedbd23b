import Synchronization
import TandemCluster
import TandemCore
import TandemPostgres
import TandemTransactions

/// Looks again and again at what is prepared, and measures how long what was prepared when something was healed stays so.
final class PreparedWatch: Sendable {
    private struct Branch: Hashable {
        let node: NodeName
        let gid: String
    }

    private struct Measurement {
        let start: ContinuousClock.Instant
        /// What was prepared at the first look after the start; nil until then.
        var left: Set<Branch>?
    }

    private struct State {
        var open: [Measurement] = []
        var seconds: [Double] = []
        /// What was prepared at the last look; nil where some node did not answer.
        var prepared: Int?
    }

    private static let interval = Duration.milliseconds(20), patience = Duration.seconds(2)

    private let cluster: Cluster
    private let state = Mutex(State())

    init(_ cluster: Cluster) { self.cluster = cluster }

    /// From now on it counts how long what is prepared stays so.
    func healed() { state.withLock { $0.open.append(Measurement(start: .now)) } }

    /// How long each healed fault's branches were there, in seconds; what is still there, so far.
    var seconds: [Double] { state.withLock { $0.seconds + $0.open.map { (ContinuousClock.now - $0.start).inSeconds } } }

    /// Looks until the task is cancelled.
    func run() async throws {
        while true {
            await look()
            try await Task.sleep(for: Self.interval)
        }
    }

    /// Looks until nothing is prepared.
    ///
    /// - Parameter limit: when it gives up.
    /// - Returns: how many branches are left.
    /// - Throws: `nodeUnreachable` where a node does not answer; `CancellationError`.
    func untilNothingIsPrepared(within limit: Duration) async throws -> Int {
        let deadline = ContinuousClock.now + limit
        while true {
            await look()
            if let prepared = state.withLock({ $0.prepared }), prepared == 0 || ContinuousClock.now >= deadline { return prepared }
            guard ContinuousClock.now < deadline + limit else {
                throw TandemError(.nodeUnreachable, "a node did not answer after everything was healed", nextStep: "look into its log")
            }
            try await Task.sleep(for: Self.interval)
        }
    }

    private func look() async {
        let begin = ContinuousClock.now
        let statement = Statement(
            "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = pg_catalog.current_database()", isPrepared: false)
        let answers = await withTaskGroup(of: (NodeName, Set<Branch>?).self) { group in
            for node in cluster.configuration.nodes.map(\.name) {
                group.addTask { [cluster] in
                    guard let reply = try? await cluster.runControl(node, Batch([statement]), within: Self.patience).only, reply.error == nil,
                        let result = reply.results.last
                    else { return (node, nil) }
                    return (node, Set((0..<result.rowCount).compactMap { result.text($0, 0).map { Branch(node: node, gid: $0) } }))
                }
            }
            return await group.reduce(into: [NodeName: Set<Branch>?]()) { $0[$1.0] = $1.1 }
        }
        let known = answers.compactMapValues(\.self)
        let isComplete = known.count == answers.count
        state.withLock { state in
            state.prepared = isComplete ? known.values.reduce(0) { $0 + $1.count } : nil
            for index in state.open.indices where state.open[index].start <= begin {
                if let left = state.open[index].left {
                    // A node that did not answer may have them still.
                    state.open[index].left = left.filter { branch in known[branch.node].map { $0.contains(branch) } ?? true }
                } else if isComplete {
                    state.open[index].left = known.values.reduce(into: []) { $0.formUnion($1) }
                }
            }
            for measurement in state.open where measurement.left?.isEmpty == true { state.seconds.append((ContinuousClock.now - measurement.start).inSeconds) }
            state.open.removeAll { $0.left?.isEmpty == true }
        }
    }
}
