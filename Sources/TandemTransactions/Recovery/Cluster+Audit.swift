import Glibc
public import TandemCluster
public import TandemCore
import TandemPostgres

/// What an audit of the registers has found.
public struct AuditReport: Sendable, Codable {
    /// A transaction that is committed on one of its nodes and not on another.
    public struct Finding: Sendable, Codable {
        /// The transaction.
        public let transaction: TransactionID
        /// `lost`: the other node has neither a row nor a prepared branch; `mixed`: it has a tombstone.
        public let kind: String
        /// A node where it is committed.
        public let committed: NodeName
        /// A node where it is not.
        public let missing: NodeName
        /// The same in words.
        public let reason: String
    }

    /// The rows of committed branches that were compared.
    public let rows: Int
    /// What contradicts.
    public let findings: [Finding]
}

extension Cluster {
    /// Compares the registers of all nodes: wherever a branch has committed, every other member of its transaction has its row or its prepared branch.
    ///
    /// It finds what an asynchronous failover lost, be it a branch or the decision itself, while the rows are there: recovery and the clean-up of rows
    /// look, too, but later. What is being committed meanwhile is looked at twice and is no finding. It changes nothing.
    ///
    /// - Parameter age: how far back, by the ids' time; everything that the registers remember by default.
    /// - Returns: how many rows were compared and what contradicts.
    /// - Throws: `nodeUnreachable` and kin when a node does not answer; `refusedBySafetyRule` where so much contradicts that a node must have gone back
    ///   in time; `CancellationError`.
    @concurrent
    public func audit(since age: Duration? = nil) async throws -> AuditReport {
        // Who they are is known once they have been connected to.
        for node in configuration.nodes { _ = try await retentionQuery("SELECT 1", [], on: node.name) }
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        let now = UInt64(time.tv_sec) * 1000 + UInt64(time.tv_nsec) / 1_000_000
        let start = age.map { now - min(now, UInt64(max(0, $0.wholeMilliseconds))) } ?? 0
        let end = TransactionID.make(milliseconds: now, random: (.max, .max))
        let (findings, rows) = try await RegisterComparison(cluster: self).compare(after: .make(milliseconds: start, random: (0, 0)), upTo: end)
        return AuditReport(
            rows: rows,
            findings: findings.map {
                AuditReport.Finding(
                    transaction: $0.transaction, kind: $0.kind.rawValue, committed: $0.committed, missing: $0.missing, reason: $0.reason)
            })
    }
}
