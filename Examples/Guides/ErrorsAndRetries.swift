import FoundationEssentials
import Tandem

// The code of the guide "Errors and retries".

func judged(_ cluster: Cluster, _ body: (GlobalTransaction) async throws -> Void) async throws -> Bool {
    do {
        try await cluster.transaction { tx in try await body(tx) }
        return true
    } catch let error as TandemError {
        switch error.effect {
        case .none, .rolledBack:
            // Nothing happened.
            if error.isRetrySafe { return try await judged(cluster, body) }
            throw error
        case .inDoubt(let id):
            // Never run it again: ask.
            return try await cluster.outcome(of: id, within: .seconds(30)) == .committed
        }
    }
}

func attempts(_ cluster: Cluster) async throws {
    var options = TransactionOptions()
    options.attempts = 5
    options.isolation = .serializable
    options.timeout = .seconds(10)
    try await cluster.transaction(options) { tx in
        let total = try await tx["bankA"].query("SELECT sum(balance) FROM account", as: Decimal?.self)
        try await tx["bankB"].execute("INSERT INTO report (total) VALUES (\(total.first ?? nil))")
    }
}

func once(_ cluster: Cluster, _ id: TransactionID, _ amount: Int) async throws -> Bool {
    var options = TransactionOptions()
    options.id = id
    let receipt = try await cluster.run(
        TransactionRequest(
            [
                .init("bankA", "UPDATE account SET balance = balance - \(amount) WHERE id = 1", expectedRows: 1...1),
                .init("bankB", "UPDATE account SET balance = balance + \(amount) WHERE id = 7", expectedRows: 1...1),
            ], options: options))
    return receipt.isRepeated
}

func tolerant(_ cluster: Cluster, _ name: String) async throws {
    try await cluster.transaction { tx in
        let branch = tx["bankA"]
        do {
            try await branch.savepoint { part in
                try await part.execute("INSERT INTO customer (name) VALUES (\(name))")
            }
        } catch let error as TandemError where error.sqlState == .uniqueViolation {
            try await branch.execute("UPDATE customer SET visits = visits + 1 WHERE name = \(name)")
        }
    }
}
