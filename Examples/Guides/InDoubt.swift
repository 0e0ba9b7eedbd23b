import Tandem

// The code of the guide "What is in doubt".

func report(_ cluster: Cluster) async throws {
    let (transactions, unreachable) = await cluster.transactionsInDoubt()
    for transaction in transactions {
        print(transaction.transaction, transaction.ageSeconds)
    }
    for node in unreachable {
        print("\(node.node) cannot be asked")
    }
}

func settle(_ cluster: Cluster) async {
    let report = await cluster.recover()
    print("\(report.settled) settled, \(report.remaining) remain")
}

func force(_ cluster: Cluster, _ id: TransactionID) async throws {
    _ = try await cluster.resolve(id, as: .rolledBack, reason: "bankB is lost, see incident 42")
}

func examine(_ cluster: Cluster) async throws {
    for finding in try await cluster.examine().findings where finding.status == .problem {
        print(finding.node, finding.check, finding.message, finding.sql ?? "")
    }
}
