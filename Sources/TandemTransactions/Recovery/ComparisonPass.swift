import Logging
import TandemCluster
import TandemCore
import TandemPostgres

/// What `Cluster.run()` does about losses that leave nothing prepared behind: it compares what was committed lately, and everything that the registers
/// remember once a node is on a new timeline.
///
/// A node's timeline rises when a standby takes over or a backup is restored, which is when commits can be gone that were there. The nodes themselves keep on
/// which one they were compared, and up to where, so it does not matter who runs and whenever that is.
struct ComparisonPass {
    /// Ids are made when transactions begin: one that takes long has an old one when it commits. What is younger than the lag is being committed, and each
    /// would be looked at closely.
    private static let overlap = Duration.seconds(60), lag = Duration.seconds(5)
    /// How often it is written down up to where was compared.
    private static let noteInterval = Duration.seconds(600)

    let cluster: Cluster
    /// Up to where what was committed lately is compared, in milliseconds.
    private var upTo: UInt64?
    private var nextNote = ContinuousClock.now
    /// What seemed to contradict and was still open, prepared or out of reach.
    private var unsettled: Set<TransactionID> = []

    init(cluster: Cluster) { self.cluster = cluster }

    /// Compares once, and records what contradicts. Nodes that do not answer are left out, and what was not compared because of them is compared later.
    ///
    /// - Throws: `nodeUnreachable` and kin where a node that answered at first did not later on; `refusedBySafetyRule` where too much contradicts to look at each.
    mutating func run() async throws {
        let record = ContradictionRecord(cluster: cluster)
        var moved: [NodeName: UInt32] = [:], noted: UInt64?
        var reachable: Set<NodeName> = []
        for node in cluster.configuration.nodes.map(\.name) {
            do {
                let state = try await record.compared(on: node)
                reachable.insert(node)
                if state.timeline != state.last { moved[node] = state.timeline }
                noted = max(noted ?? 0, state.upTo ?? 0)
            } catch let error as TandemError {
                cluster.configuration.logger.warning(
                    "a node's register cannot be compared now", metadata: ["tandem.node": "\(node)", "tandem.reason": "\(error)"])
            }
        }
        guard reachable.count > 1 else { return }
        let isComplete = reachable.count == cluster.configuration.nodes.count
        let now = TransactionID.fresh().milliseconds
        // After a failover nothing waits; otherwise what is younger is left to the next time.
        let end = moved.isEmpty ? now - UInt64(Self.lag.wholeMilliseconds) : now
        let last = upTo ?? noted ?? 0, overlap = UInt64(Self.overlap.wholeMilliseconds)
        let start = moved.isEmpty && last > overlap ? min(last, now) - overlap : 0
        let result = try await RegisterComparison(cluster: cluster).compare(
            after: .make(milliseconds: start, random: (0, 0)), upTo: .make(milliseconds: end, random: (.max, .max)), unsettled: unsettled,
            known: try await record.known(on: reachable), among: reachable)
        for contradiction in result.contradictions { try await record.report(contradiction) }
        unsettled = result.unsettled
        if let excess = result.excess { throw excess }
        for (node, timeline) in moved where isComplete { try await record.note(timeline: timeline, of: node) }
        guard isComplete else { return }
        // Ids are made by the coordinators' clocks: a clock of ours that is ahead must not pass what is still to come.
        upTo = min(end, max(result.newest ?? 0, last))
        // Whoever begins anew begins there, so it stays below what is unsettled.
        guard let node = reachable.min(), let upTo, !moved.isEmpty || ContinuousClock.now >= nextNote else { return }
        try await record.note(upTo: min(upTo, unsettled.min()?.milliseconds ?? upTo), on: node)
        nextNote = .now + Self.noteInterval
    }
}
