import TandemCluster
import TandemCore
import TandemPostgres

/// What `Cluster.run()` does about losses that leave nothing prepared behind: it compares what was committed lately, and everything that the registers
/// remember once a node is on a new timeline.
///
/// A node's timeline rises when a standby takes over or a backup is restored: only then can commits be gone that were there. The nodes themselves keep on
/// which one they were compared, so a failover is noticed whoever runs and whenever that is.
struct ComparisonPass {
    /// Ids are made when transactions begin: one that takes long has an old one when it commits. What is younger than the lag is being committed, and each
    /// would be looked at closely.
    private static let overlap = Duration.seconds(60), lag = Duration.seconds(5)

    let cluster: Cluster
    /// Up to where what was committed lately is compared.
    private var upTo: UInt64?

    init(cluster: Cluster) { self.cluster = cluster }

    private var nodes: [NodeName] { cluster.configuration.nodes.map(\.name) }

    /// Compares once, and records what contradicts.
    ///
    /// - Throws: `nodeUnreachable` and kin where a node cannot be asked, `refusedBySafetyRule` where too much contradicts to look at each; the next time it
    ///   looks again.
    mutating func run() async throws {
        let record = ContradictionRecord(cluster: cluster), comparison = RegisterComparison(cluster: cluster)
        var moved: [(node: NodeName, timeline: UInt32)] = []
        for node in nodes {
            let last = try await record.timeline(of: node)
            // The question has connected, so who answers is known.
            guard let timeline = cluster.nodes[node]?.identity?.timeline, timeline != last else { continue }
            moved.append((node, timeline))
        }
        let now = TransactionID.fresh().milliseconds
        // After a failover nothing waits; otherwise what is younger is left to the next time.
        let end = moved.isEmpty ? now - UInt64(Self.lag.wholeMilliseconds) : now
        let window = UInt64((Self.overlap + cluster.configuration.auditInterval).wholeMilliseconds)
        let start = moved.isEmpty ? min(upTo ?? now, now) - window : 0
        try await comparison.report(after: .make(milliseconds: start, random: (0, 0)), upTo: .make(milliseconds: end, random: (.max, .max)))
        for (node, timeline) in moved { try await record.note(timeline: timeline, of: node) }
        upTo = end
    }
}
