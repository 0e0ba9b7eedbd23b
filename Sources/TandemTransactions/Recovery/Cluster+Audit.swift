import Glibc
public import TandemCluster
public import TandemCore
import TandemPostgres

/// What an audit of the registers has found.
public struct AuditReport: Sendable, Codable {
    /// The rows of committed branches that were compared.
    public let rows: Int
    /// What contradicts.
    public let findings: [Contradiction]
    /// Transactions that seem to contradict, too, and were not looked at: there are too many, so a node must have gone back in time.
    public let unexamined: Int
}

extension Cluster {
    /// Compares the registers of all nodes: wherever a branch has committed, every other member of its transaction has its row or its prepared branch.
    ///
    /// It finds what an asynchronous failover lost, be it a branch or the decision itself, and what somebody finished against the decision, while the rows are
    /// there. ``Cluster/run()`` does the same for what is new, and for everything after a failover, and records it; this changes nothing. What is being
    /// committed meanwhile is looked at twice and is no finding.
    ///
    /// - Parameter age: how far back, by the ids' time; everything that the registers remember by default.
    /// - Returns: how many rows were compared and what contradicts.
    /// - Throws: `nodeUnreachable` and kin when a node does not answer; `CancellationError`.
    @concurrent
    public func audit(since age: Duration? = nil) async throws -> AuditReport {
        // Who they are is known once they have been connected to.
        for node in configuration.nodes { _ = try await retentionQuery("SELECT 1", [], on: node.name) }
        let now = TransactionID.fresh().milliseconds
        let start = age.map { now - min(now, UInt64(max(0, $0.wholeMilliseconds))) } ?? 0
        let end = TransactionID.make(milliseconds: now, random: (.max, .max))
        let result = try await RegisterComparison(cluster: self).compare(after: .make(milliseconds: start, random: (0, 0)), upTo: end)
        return AuditReport(rows: result.rows, findings: result.contradictions, unexamined: result.unexamined)
    }

    /// The contradictions that recovery, clean-up and ``Cluster/run()`` have found and nobody has accepted since.
    ///
    /// - Returns: what was found, and the nodes that did not answer, which may know of more.
    @concurrent
    public func contradictions() async -> (found: [Contradiction], unreachable: [RecoveryReport.Unreachable]) {
        let record = ContradictionRecord(cluster: self)
        var found: [Contradiction] = [], unreachable: [RecoveryReport.Unreachable] = []
        for node in configuration.nodes.map(\.name) {
            do { found += try await record.open(on: node) } catch {
                unreachable.append(RecoveryReport.Unreachable(node: node, reason: String(describing: error)))
            }
        }
        return (found, unreachable)
    }

    /// Notes that somebody has compared the data of a contradiction and mended it: it is no longer shown, and its rows go with the others.
    ///
    /// - Parameters:
    ///   - id: the transaction.
    ///   - reason: what was done, for whoever reads the record; not empty.
    /// - Throws: `notFound` where no node knows it as a contradiction; `configurationInvalid` without a reason; `nodeUnreachable` and kin.
    @concurrent
    public func accept(_ id: TransactionID, reason: String) async throws {
        guard !reason.allSatisfy(\.isWhitespace) else {
            throw TandemError(.configurationInvalid, "a contradiction is accepted for a reason", nextStep: "say what was done")
        }
        let record = ContradictionRecord(cluster: self)
        var isKnown = false
        for node in configuration.nodes.map(\.name) where try await record.accept(id, reason: reason, on: node) { isKnown = true }
        guard isKnown else {
            throw TandemError(.notFound, "no node knows \(id) as a contradiction", nextStep: "`tandem tx ls` shows those that are open")
        }
    }
}
