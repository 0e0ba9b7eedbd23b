package import TandemCluster
import TandemCore
import TandemPostgres
import TandemTransactions

/// `tandem bench recovery`: how fast recovery settles what dead coordinators left behind.
///
/// Half of the transactions were decided and not finished, half were not decided: the first are committed, the others rolled back.
package struct RecoveryBench: Sendable {
    /// What was measured.
    package struct Result: Sendable, Codable {
        package let transactions: Int
        /// Branches that recovery finished.
        package var settled = 0
        package var committed = 0
        package var rolled_back = 0
        package var seconds = 0.0
        package var prepared_after = 0

        /// Whether every transaction went the way its register said, and nothing stayed prepared.
        package var isSound: Bool { prepared_after == 0 && settled == transactions && committed == transactions / 2 }
    }

    private static let patience = Duration.seconds(60)

    private let configuration: ClusterConfiguration
    private let transactions: Int
    private let progress: @Sendable (String) -> Void

    /// - Parameters:
    ///   - configuration: at least two initialised nodes, on which a table `tandem_bench_account` is made anew.
    ///   - transactions: how many to leave in doubt.
    ///   - progress: told what is being done.
    package init(_ configuration: ClusterConfiguration, transactions: Int, progress: @escaping @Sendable (String) -> Void) {
        self.configuration = configuration
        self.transactions = transactions
        self.progress = progress
    }

    /// Leaves the transactions in doubt, then measures one recovery after the other until nothing is left.
    package func run() async throws -> Result {
        let cluster = try Cluster(configuration)
        defer { cluster.close() }
        let nodes = configuration.nodes.map(\.name)
        let accounts = BenchAccounts(cluster: cluster, nodes: nodes, count: transactions)
        try await accounts.create()
        progress("leaving \(transactions) transactions in doubt")
        for number in 0..<transactions {
            try await leaveInDoubt(number, cluster, nodes[number % nodes.count], commitPoint: nodes[(number + 1) % nodes.count])
        }
        progress("recovering")
        var result = Result(transactions: transactions)
        let start = ContinuousClock.now
        while ContinuousClock.now - start < Self.patience {
            let report = await cluster.recover(grace: .zero)
            result.settled += report.settled
            result.committed += report.branches.count { $0.settlement == "committed" }
            result.rolled_back += report.branches.count { $0.settlement == "rolled_back" }
            if report.remaining == 0 && report.unreachable.isEmpty { break }
        }
        result.seconds = (ContinuousClock.now - start).inSeconds
        result.prepared_after = try await accounts.prepared()
        try await accounts.drop()
        return result
    }

    /// What a coordinator leaves that dies after its votes, or after its decision.
    private func leaveInDoubt(_ number: Int, _ cluster: Cluster, _ member: NodeName, commitPoint: NodeName) async throws {
        let transaction = TransactionID.fresh()
        let lane = cluster.lanes[0]
        guard let pool = lane.pools[member], let other = lane.pools[commitPoint] else { return }
        let one = try await pool.lease(deadline: .now + Self.patience)
        defer { lane.reactor.execute { pool.release(one) } }
        let two = try await other.lease(deadline: .now + Self.patience)
        defer { lane.reactor.execute { other.release(two) } }
        guard let memberID = (one.attachment as? NodeIdentity)?.id, let pointID = (two.attachment as? NodeIdentity)?.id else { return }
        let gid = GID(cluster: configuration.name, transaction: transaction, node: memberID, commitPoint: pointID)
        let members = [memberID, pointID]
        try await send(one, number, transaction, memberID, members, closing: Register.prepare(gid))
        if number.isMultiple(of: 2) { try await send(two, number, transaction, pointID, members, closing: Register.commit) }
    }

    private func send(
        _ connection: Connection, _ number: Int, _ transaction: TransactionID, _ node: NodeID, _ members: [NodeID], closing: Statement
    ) async throws {
        let update = Statement(
            "UPDATE tandem_bench_account SET balance = balance + $1 WHERE id = $2", parameters: ParameterBuffer(texts: ["0", String(number + 1)]))
        let statements = [
            Register.begin, update, try RowStatement(node: node, coordinator: "bench").insert(transaction, members: members, isMarked: false), closing,
        ]
        if let error = try await connection.run(Batch(statements), deadline: .now + Self.patience).only.error { throw error }
    }
}
