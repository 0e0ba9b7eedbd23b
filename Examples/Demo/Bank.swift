import Foundation
import Synchronization
import Tandem

/// Accounts on three nodes, and a ledger on each: every transfer writes its number where it takes and where it gives.
final class Bank: Sendable {
    static let accounts = 1_000
    static let balance: Int64 = 1_000

    /// One transfer.
    struct Transfer: Sendable {
        let number: Int64
        /// The account that pays first, then the others; the amounts add up to zero.
        let parts: [Part]

        struct Part: Sendable {
            let node: NodeName
            let account: Int
            let amount: Int64
        }
    }

    /// What the ledger of one node says.
    struct Entry: Sendable, Hashable {
        let number: Int64
        let account: Int
        let amount: Int64
    }

    let cluster: Cluster
    let nodes: [NodeName]
    private let numbers = Atomic<Int64>(0)

    init(_ cluster: Cluster) {
        self.cluster = cluster
        nodes = cluster.configuration.nodes.map(\.name)
    }

    /// Makes and fills the tables: three databases, one transaction.
    func open() async throws {
        _ = try await cluster.transaction { tx in
            for node in self.nodes {
                try await tx[node].execute("CREATE TABLE account (id integer PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0))")
                try await tx[node].execute(
                    "CREATE TABLE ledger (number bigint PRIMARY KEY, account integer NOT NULL, amount bigint NOT NULL)")
                try await tx[node].execute("INSERT INTO account SELECT i, \(Self.balance) FROM generate_series(1, \(Self.accounts)::int) i")
            }
        }
    }

    // MARK: Transfers

    func nextNumber() -> Int64 { numbers.add(1, ordering: .relaxed).newValue }

    /// A transfer between two random accounts on two random nodes.
    func randomTransfer() -> Transfer {
        let pair = nodes.shuffled().prefix(2)
        let amount = Int64.random(in: 1...20)
        return Transfer(
            number: nextNumber(),
            parts: zip(pair, [-amount, amount]).map { .init(node: $0, account: .random(in: 1...Self.accounts), amount: $1) })
    }

    /// One transfer in Swift. The nodes are touched in one order, so that transfers never wait for each other in a circle.
    func run(_ transfer: Transfer) async throws {
        let parts = transfer.parts.sorted { $0.node < $1.node }
        var options = TransactionOptions()
        options.nodes = parts.map(\.node)
        options.timeout = .seconds(5)
        _ = try await cluster.transaction(options) { tx in
            for part in parts {
                let touched = try await tx[part.node].pipeline([
                    "UPDATE account SET balance = balance + \(part.amount) WHERE id = \(part.account)",
                    "INSERT INTO ledger (number, account, amount) VALUES (\(transfer.number), \(part.account), \(part.amount))",
                ])
                guard touched == [1, 1] else { throw Broken("a transfer touched \(touched) rows") }
            }
        }
    }

    /// The same as a file for `tandem tx run`.
    func yaml(_ transfer: Transfer, id: TransactionID? = nil) -> String {
        let operations = transfer.parts.map { part in
            """
              - node: \(part.node)
                sql: UPDATE account SET balance = balance + $1 WHERE id = $2
                params: [\(part.amount), \(part.account)]
                expect: {rows: 1}
              - node: \(part.node)
                sql: INSERT INTO ledger (number, account, amount) VALUES ($1, $2, $3)
                params: [\(transfer.number), \(part.account), \(part.amount)]
                expect: {rows: 1}

            """
        }
        return "operations:\n\(operations.joined())timeout: 10s\n\(id.map { "id: \($0)\n" } ?? "")"
    }

    // MARK: Looking

    func money() async throws -> Int64 {
        var sum: Int64 = 0
        for node in nodes { sum += try await balances(node).values.reduce(0, +) }
        return sum
    }

    func balances(_ node: NodeName) async throws -> [Int: Int64] {
        Dictionary(
            uniqueKeysWithValues: try await read(node) { try await $0.query("SELECT id, balance FROM account", as: Int.self, Int64.self) })
    }

    func ledger(_ node: NodeName) async throws -> [Entry] {
        try await read(node) { branch in
            try await branch.query("SELECT number, account, amount FROM ledger", as: Int64.self, Int.self, Int64.self).map {
                Entry(number: $0, account: $1, amount: $2)
            }
        }
    }

    /// Prepared transactions of a node's database, whosever they are.
    func prepared(_ node: NodeName) async throws -> Int {
        try await read(node) { branch in
            try await branch.query(
                "SELECT count(*) FROM pg_catalog.pg_prepared_xacts WHERE database = current_database()", as: Int.self
            ).first ?? 0
        }
    }

    func prepared() async throws -> Int {
        var sum = 0
        for node in nodes { sum += try await prepared(node) }
        return sum
    }

    private func read<Value: Sendable>(_ node: NodeName, _ body: @Sendable (Branch) async throws -> Value) async throws -> Value {
        var options = TransactionOptions()
        options.nodes = [node]
        options.isReadOnly = true
        return try await cluster.transaction(options) { tx in try await body(tx[node]) }.value
    }
}
