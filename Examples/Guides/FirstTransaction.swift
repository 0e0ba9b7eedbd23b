import Tandem

// The code of the guide "A first transaction".

func makeCluster() throws -> Cluster {
    let configuration = try ClusterConfiguration(
        "bank",
        nodes: [
            NodeConfiguration("bankA", conninfo: "host=10.0.0.1 dbname=bank user=app"),
            NodeConfiguration("bankB", conninfo: "host=10.0.0.2 dbname=bank user=app"),
        ])
    return try Cluster(configuration)
}

func prepareDatabases(_ configuration: ClusterConfiguration) async throws {
    for node in try await Initialiser(configuration).run() {
        print("\(node.name) is prepared")
    }
}

func transfer(_ amount: Int, from: Int, to: Int, in cluster: Cluster) async throws -> TransactionID {
    let receipt = try await cluster.transaction { tx in
        let balance = try await tx["bankA"].query("SELECT balance FROM account WHERE id = \(from) FOR UPDATE", as: Int.self).first
        guard let balance, balance >= amount else { throw NotEnough() }
        try await tx["bankA"].execute("UPDATE account SET balance = balance - \(amount) WHERE id = \(from)", rows: 1...1)
        try await tx["bankB"].execute("UPDATE account SET balance = balance + \(amount) WHERE id = \(to)", rows: 1...1)
    }
    return receipt.transaction
}

struct NotEnough: Error {}

func serve(_ cluster: Cluster) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
        group.addTask { try await cluster.run() }
        group.addTask { try await answerRequests(cluster) }
        // Whichever ends first ends the other.
        try await group.next()
        group.cancelAll()
    }
    cluster.close()
}

func answerRequests(_ cluster: Cluster) async throws {
    print(try await transfer(10, from: 1, to: 7, in: cluster))
}
