import TandemCluster
import TandemCore
import TandemFailpoints
import TandemLocal
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemTransactions

extension TestCluster {
    /// Moves money from an account on the first node to the one of the same number on the second; the first is the commit point.
    func transfer(_ amount: Int = 10, account: Int = 1, on other: Cluster? = nil, _ options: TransactionOptions = TransactionOptions()) async throws -> Receipt<
        Void
    > {
        try await (other ?? cluster).transaction(options) { tx in
            try await tx["n1"].execute("UPDATE account SET balance = balance - \(amount) WHERE id = \(account)", rows: 1...1)
            try await tx["n2"].execute("UPDATE account SET balance = balance + \(amount) WHERE id = \(account)", rows: 1...1)
        }
    }

    /// The number of a node: its place in the configuration.
    func id(_ name: NodeName) throws -> NodeID {
        let place = try #require(configuration.nodes.firstIndex { $0.name == name })
        return try #require(NodeID(rawValue: Int16(place + 1)))
    }

    func gid(_ transaction: TransactionID, _ node: NodeName, commitPoint: NodeName) throws -> GID {
        GID(cluster: configuration.name, transaction: transaction, node: try id(node), commitPoint: try id(commitPoint))
    }

    /// What a coordinator that was killed leaves on a member: its branch, prepared, with 10 more on an account.
    func leavePrepared(_ transaction: TransactionID, _ node: NodeName = "n2", commitPoint: NodeName = "n1", account: Int = 1) async throws {
        try await sql(
            try conninfo(node), "BEGIN", "UPDATE account SET balance = balance + 10 WHERE id = \(account)",
            "INSERT INTO tandem.branch (transaction_id, node) VALUES ('\(transaction)', \(try id(node)))",
            "PREPARE TRANSACTION '\(try gid(transaction, node, commitPoint: commitPoint))'")
    }

    /// The other half: the decision, 10 less on an account.
    func decide(_ transaction: TransactionID, _ node: NodeName = "n1", account: Int = 1) async throws {
        try await sql(
            try conninfo(node), "BEGIN", "UPDATE account SET balance = balance - 10 WHERE id = \(account)",
            "INSERT INTO tandem.branch (transaction_id, node) VALUES ('\(transaction)', \(try id(node)))", "COMMIT")
    }

    /// 'W', 'A' or nothing.
    func row(_ transaction: TransactionID, _ node: NodeName) async throws -> String? {
        try await value(node, "SELECT kind FROM tandem.branch WHERE transaction_id = '\(transaction)' AND node = \(try id(node))")
    }

    /// Nothing is prepared, nothing is lost, and both sides of account 1 have moved by the same amount.
    func expectUntouched() async throws {
        #expect(try await prepared() == [])
        #expect(try await balance("n1", 1) == Self.balance)
        #expect(try await balance("n2", 1) == Self.balance)
    }

    func expectMoved(_ amount: Int = 10, account: Int = 1) async throws {
        #expect(try await prepared() == [])
        #expect(try await balance("n1", account) == Self.balance - amount)
        #expect(try await balance("n2", account) == Self.balance + amount)
    }
}

/// What a transaction was refused with.
func refusal<V>(_ body: () async throws -> V) async -> TandemError? {
    await #expect(throws: TandemError.self) { _ = try await body() }
}

struct OwnError: Error, Equatable {
    let number: Int
}

func options(_ change: (inout TransactionOptions) -> Void) -> TransactionOptions {
    var options = TransactionOptions()
    change(&options)
    return options
}
