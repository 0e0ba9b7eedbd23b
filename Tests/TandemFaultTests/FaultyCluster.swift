import TandemCluster
import TandemCore
import TandemLocal
import TandemPostgres
import TandemTestKit
import TandemTestSupport
import TandemTransactions
import Testing

/// A cluster of two nodes whose connections go through proxies, and the same nodes without.
struct FaultyCluster: Sendable {
    /// The nodes, reached directly: what is true there.
    let test: TestCluster
    /// The cluster under test.
    let cluster: Cluster
    let proxies: [NodeName: FaultProxy]

    func proxy(_ node: NodeName) throws -> FaultProxy { try #require(proxies[node]) }

    /// Moves 10 from an account on n1, the commit point, to the same one on n2.
    func transfer(within timeout: Duration = .seconds(30), account: Int = 1) async throws -> Receipt<Void> {
        var options = TransactionOptions()
        options.timeout = timeout
        return try await cluster.transaction(options) { tx in
            try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = \(account)", rows: 1...1)
            try await tx["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = \(account)", rows: 1...1)
        }
    }

    /// What a transfer was refused with.
    func refusedTransfer(within timeout: Duration) async -> TandemError? {
        await #expect(throws: TandemError.self) { _ = try await transfer(within: timeout) }
    }

    /// I3: recovery of another process, which no fault concerns, leaves nothing prepared. I1: what is on one node is on the other.
    ///
    /// - Returns: whether the transfer is there.
    func settled(account: Int = 1) async throws -> Bool {
        let direct = try test.another()
        defer { direct.close() }
        try await wait(for: "the end of every branch") {
            _ = await direct.recover(grace: .zero)
            return try await test.prepared().isEmpty
        }
        let left = try await test.balance("n1", account), right = try await test.balance("n2", account)
        #expect(left + right == 2 * TestCluster.balance, "I1: \(left) and \(right)")
        return left != TestCluster.balance
    }

    /// I4: whatever happened, the next transaction is done, through the same proxies.
    func expectUsable() async throws {
        let receipt = try await transfer(account: 50)
        #expect(receipt.pending.isEmpty)
    }
}

/// Gives the body two nodes behind a proxy each.
func withFaultyCluster(
    _ change: @Sendable @escaping (inout ClusterConfiguration) -> Void = { _ in }, _ body: @Sendable @escaping (FaultyCluster) async throws -> Void
) async throws {
    try await withCluster(2) { test in
        let ports = try ["n1", "n2"].map { try test.local.node($0).port }
        try await withFaultProxy(to: .init(host: "127.0.0.1", port: ports[0])) { first in
            try await withFaultProxy(to: .init(host: "127.0.0.1", port: ports[1])) { second in
                let proxies: [NodeName: FaultProxy] = ["n1": first, "n2": second]
                let cluster = try test.another { configuration in
                    for index in configuration.nodes.indices {
                        let name = configuration.nodes[index].name
                        guard let local = try? test.local.node(name), let port = proxies[name]?.port else { continue }
                        configuration.nodes[index].conninfo =
                            "host=127.0.0.1 port=\(port) dbname=\(test.database) user=\(local.user) sslmode=disable"
                        configuration.nodes[index].password = Secret(local.password)
                        configuration.nodes[index].connectTimeout = .seconds(15)
                    }
                    change(&configuration)
                }
                defer { cluster.close() }
                try await body(FaultyCluster(test: test, cluster: cluster, proxies: proxies))
            }
        }
    }
}
