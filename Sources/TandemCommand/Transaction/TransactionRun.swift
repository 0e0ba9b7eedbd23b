import TandemCluster
import TandemCore
import TandemTransactions

/// One transaction of a file, from its start to what can be said of it.
struct TransactionRun: Sendable {
    let cluster: Cluster
    let request: TransactionRequest
    let id: TransactionID

    /// Runs it. Throws only where nothing was sent because the file or the configuration is wrong: then there was no transaction.
    func perform() async throws -> TransactionReport {
        let cluster = cluster, request = request
        do {
            let receipt = try await Interruption.cancelling("interrupted: rolling back, unless it is decided already") { try await cluster.run(request) }
            return TransactionReport(receipt: receipt, nodes: nodes)
        } catch is CancellationError {
            return TransactionReport(interrupted: id, nodes: nodes)
        } catch let error as TandemError {
            if error.effect == .none, error.code.entry?.exitCode == .usage { throw error }
            return try await report(error)
        }
    }

    /// The nodes in the order in which the file names them first.
    private var nodes: [NodeName] {
        request.operations.map(\.node).reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }

    private func report(_ error: TandemError) async throws -> TransactionReport {
        switch error.effect {
        case .inDoubt: return TransactionReport(error, id: id, outcome: .inDoubt, nodes: nodes, exitCode: .outcomeUnknown)
        case .none, .rolledBack: break
        }
        // This attempt did nothing; but the id is that of an earlier one, about which rolled back may be untrue.
        if error.code == .duplicateTransaction || error.code == .transactionForgotten {
            return TransactionReport(error, id: id, outcome: .inDoubt, nodes: nodes, exitCode: .refusedBySafetyRule)
        }
        return TransactionReport(error, id: id, outcome: .rolledBack, nodes: nodes, exitCode: .failed)
    }
}
