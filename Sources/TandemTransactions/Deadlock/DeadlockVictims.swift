import Synchronization
import TandemCluster
import TandemCore
import TandemPostgres

/// The transactions of this process that had to give way, until they have ended; and how often nodes were asked.
final class DeadlockVictims: Sendable {
    private static let patience = Duration.seconds(2)

    private let reasons = Locked<[TransactionID: Deadlock]>([:])
    private let probes = Atomic<Int>(0)

    func choose(_ transaction: TransactionID, _ reason: Deadlock) { reasons.withLock { $0[transaction] = reason } }
    func forget(_ transaction: TransactionID) { reasons.withLock { _ = $0.removeValue(forKey: transaction) } }

    func probed() { probes.add(1, ordering: .relaxed) }
    /// Statements that asked a node whether anybody waits.
    var probeCount: Int { probes.load(ordering: .relaxed) }

    /// What a cancelled statement means: that its transaction gave way, or what the server said.
    ///
    /// - Parameters:
    ///   - error: the failure of a statement, a vote or the decision.
    ///   - transaction: whose.
    ///   - cluster: its nodes; another process may have chosen the transaction and left word on the node.
    /// - Returns: the failure, as 40P01 where the transaction gave way.
    func explain(_ error: TandemError, _ transaction: TransactionID, _ cluster: Cluster) async -> TandemError {
        guard error.sqlState == .queryCanceled, error.effect == .rolledBack, let node = error.node else { return error }
        // Told once: whoever goes on after a savepoint may be cancelled for another reason.
        if let reason = reasons.withLock({ $0.removeValue(forKey: transaction) }) { return reason.error(node, phase: error.phase) }
        let question = Statement(
            "SELECT o.reason FROM tandem.operation o WHERE o.what OPERATOR(pg_catalog.=) 'deadlock' AND o.transaction_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid "
                + "AND o.at OPERATOR(pg_catalog.>) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) '30 s'::pg_catalog.interval)",
            parameters: ParameterBuffer(texts: [transaction.description]))
        guard let reply = try? await cluster.runControlToTheEnd(node, Batch([question]), within: Self.patience).only, reply.error == nil,
            let reason = reply.results.last.flatMap({ $0.rowCount > 0 ? $0.text(0, 0) : nil }).flatMap({ Deadlock(json: $0) })
        else { return error }
        return reason.error(node, phase: error.phase)
    }
}
