import TandemCluster
import TandemCore
import TandemFailpoints
import TandemPostgres

/// The end of a transaction whose body has returned or thrown: who votes, who is the commit point, what is only let go.
struct TransactionEnd {
    private static let patience = Duration.seconds(5)

    let cluster: Cluster
    let transaction: GlobalTransaction

    private var lane: Lane { transaction.lane }

    /// Commits every branch, or throws.
    ///
    /// - Returns: the nodes that have not confirmed yet.
    func commit() async throws -> [NodeName] {
        let branches = transaction.branches.filter { $0.connection != nil }
        let (writers, readers) = try await sort(branches)
        guard let commitPoint = Self.commitPoint(of: writers) else {
            try await Self.commitReaders(readers, on: lane.reactor)
            return []
        }
        // The global order of nodes: whoever locks in it cannot deadlock with another who does.
        let ordered = try writers.sorted { try $0.id() < $1.id() }
        var commit = try Commit(
            cluster: cluster, runtime: .of(cluster), lane: lane, transaction: transaction.id, options: transaction.options, deadline: transaction.deadline,
            writers: ordered, readers: readers, commitPoint: commitPoint, examine: { _, _ in nil })
        return try await commit.run()
    }

    /// The configured strength decides; among equals the writer that was touched first.
    static func commitPoint(of writers: [BranchSession]) -> BranchSession? {
        guard let strongest = writers.map(\.node.configuration.commitPointStrength).max() else { return nil }
        return writers.first { $0.node.configuration.commitPointStrength == strongest }
    }

    /// R7: a branch with an xid of its own votes; one without has nothing to commit. Command tags tell that a branch wrote; where none did, the
    /// server is asked.
    private func sort(_ branches: [BranchSession]) async throws -> (writers: [BranchSession], readers: [BranchSession]) {
        if transaction.options.isReadOnly { return ([], branches) }
        let unsure = branches.filter { branch in branch.state.withLock { !$0.hasWritten } }
        var readers: Set<ObjectIdentifier> = []
        let calls = unsure.compactMap { branch in branch.connection.map { (branch, (connection: $0, batch: Batch([Register.hasWritten]))) } }
        let answers = await Connection.gather(calls.map(\.1), on: lane.reactor, deadline: transaction.deadline)
        for ((branch, _), answer) in zip(calls, answers) {
            switch answer {
            case .failure(let failure): throw TandemError(failure, node: branch.name, effect: .rolledBack, phase: "vote")
            case .success(let reply):
                if let error = branch.take(reply.only, after: 0) { throw error }
                if reply.only.results.last?.text(0, 0) == "f" { readers.insert(ObjectIdentifier(branch)) }
            }
        }
        return (branches.filter { !readers.contains(ObjectIdentifier($0)) }, branches.filter { readers.contains(ObjectIdentifier($0)) })
    }

    /// A transaction that wrote nothing has nothing to decide; a SERIALIZABLE branch may still fail at its COMMIT.
    static func commitReaders(_ readers: [BranchSession], on reactor: Reactor) async throws {
        // A connection that is gone cannot be asked, and what was read on it is not validated.
        if let lost = readers.first(where: { $0.connection?.isClosed ?? false }) {
            throw TandemError(
                .connectionLost, "the branch's connection was lost before its commit", effect: .rolledBack, isRetrySafe: true, node: lost.name, phase: "commit")
        }
        for (branch, answer) in await end(readers, with: Register.commit, on: reactor) {
            switch answer {
            case .failure(let failure): throw TandemError(failure, node: branch.name, effect: .rolledBack, phase: "commit")
            case .success(let reply):
                if let error = reply.only.error { throw TandemError(error, node: branch.name, effect: .rolledBack, phase: "commit") }
                guard reply.only.lastTag == "COMMIT" else {
                    throw TandemError(.transactionEnded, "the server rolled the branch back instead", effect: .rolledBack, node: branch.name, phase: "commit")
                }
            }
        }
    }

    /// Rolls back every branch that is still open. Where that cannot be said to the server, the connection is closed, which says the same.
    func rollBack() async {
        await Self.end(transaction.branches, with: Register.rollback, on: lane.reactor)
    }

    /// Ends the branches that are still in a transaction with one statement each.
    @discardableResult
    static func end(
        _ branches: [BranchSession], with statement: Statement, on reactor: Reactor
    ) async -> [(BranchSession, Result<BatchReply, ConnectionFailure>)] {
        let open = branches.filter { branch in branch.connection.map { !$0.isClosed && $0.transactionStatus != .idle } ?? false }
        let calls = open.compactMap { branch in branch.connection.map { ($0, Batch([statement], interruption: .abandon)) } }
        let answers = await Connection.gather(calls.map { (connection: $0.0, batch: $0.1) }, on: reactor, deadline: .now + patience)
        return Array(zip(open, answers))
    }
}
