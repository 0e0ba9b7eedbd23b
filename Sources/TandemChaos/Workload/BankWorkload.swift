import TandemCluster
import TandemCore
import TandemPostgres
import TandemTransactions

/// Accounts on all nodes between which money moves; each transfer leaves an entry in the ledger of both of its nodes.
///
/// Source: the bank test of Jepsen, and the ledger that tells which transfer is missing.
struct BankWorkload: Sendable {
    /// Accounts on each node, and what is on each of them at the beginning.
    static let accounts = 200, balance = 1_000

    static let schema = [
        "CREATE TABLE chaos_account (id integer PRIMARY KEY, balance bigint NOT NULL CHECK (balance >= 0)) WITH (fillfactor = 50)",
        "INSERT INTO chaos_account SELECT n, \(balance) FROM generate_series(1, \(accounts)) n",
        "CREATE TABLE chaos_ledger (transaction_id uuid, account integer, amount bigint NOT NULL, PRIMARY KEY (transaction_id, account))",
    ]

    /// One transfer.
    struct Transfer: Sendable, Codable, Equatable {
        let from: NodeName
        let fromAccount: Int
        let to: NodeName
        let toAccount: Int
        let amount: Int
    }

    let cluster: Cluster
    let nodes: [NodeName]

    func next(_ random: inout FastRandom) -> Transfer {
        let from = random.next(nodes.count), to = (from + 1 + random.next(nodes.count - 1)) % nodes.count
        // Some are more than an account has: they are refused by its node.
        return Transfer(
            from: nodes[from], fromAccount: 1 + random.next(Self.accounts), to: nodes[to], toAccount: 1 + random.next(Self.accounts),
            amount: random.next(50) == 0 ? 1_500 : 1 + random.next(50))
    }

    /// Runs a transfer.
    ///
    /// - Parameters:
    ///   - transfer: what moves.
    ///   - id: the transaction's id.
    ///   - asData: whether it goes as data; otherwise as a body.
    ///   - timeout: how long it may take.
    /// - Throws: what the transaction throws.
    @concurrent
    func run(_ transfer: Transfer, id: TransactionID, asData: Bool, timeout: Duration) async throws {
        var options = TransactionOptions()
        options.id = id
        options.timeout = timeout
        let operations =
            Self.half(id, transfer.fromAccount, -transfer.amount).map { TransactionRequest.Operation(transfer.from, $0, expectedRows: 1...1) }
            + Self.half(id, transfer.toAccount, transfer.amount).map { TransactionRequest.Operation(transfer.to, $0, expectedRows: 1...1) }
        if asData {
            _ = try await cluster.run(TransactionRequest(operations, options: options))
            return
        }
        _ = try await cluster.transaction(options) { transaction in
            for operation in operations { try await transaction[operation.node].execute(operation.sql, rows: 1...1) }
        }
    }

    private static func half(_ id: TransactionID, _ account: Int, _ amount: Int) -> [SQL] {
        [
            "UPDATE chaos_account SET balance = balance + \(amount) WHERE id = \(account)",
            "INSERT INTO chaos_ledger (transaction_id, account, amount) VALUES (\(id.description)::text::uuid, \(account), \(amount))",
        ]
    }
}
