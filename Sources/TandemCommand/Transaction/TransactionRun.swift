import TandemCluster
import TandemCore
import TandemTransactions

/// One transaction of a file, from its start to what can be said of it.
struct TransactionRun: Sendable {
    let cluster: Cluster
    let request: TransactionRequest
    let id: TransactionID
    /// Whether the sender chose the id: he may have sent it before.
    private let isOwn: Bool

    /// Its id is chosen here where the sender has none, so that it can be told whatever happens.
    init(_ request: TransactionRequest, on cluster: Cluster) {
        self.cluster = cluster
        isOwn = request.options.id != nil
        let id = request.options.id ?? .now()
        self.id = id
        var request = request
        request.options.id = id
        self.request = request
    }

    /// Runs it, until it has ended or a signal asks it to end. Throws only where nothing was sent because the file or the configuration is wrong: then
    /// there was no transaction.
    func perform() async throws -> TransactionReport {
        try await report {
            let cluster = cluster, request = request
            return try await Interruption.cancelling("interrupted: rolling back, unless it is decided already") {
                do {
                    return try await cluster.run(request)
                } catch let error as TandemError where Task.isCancelled && error.isRollback {
                    // Only a signal cancels this task. What a statement said when it was cut short is not why the transaction ended.
                    throw CancellationError()
                }
            }
        }
    }

    /// Runs it to its end.
    func performToTheEnd() async throws -> TransactionReport { try await report { try await cluster.run(request) } }

    private func report(_ run: () async throws -> Receipt<[OperationResult]>) async throws -> TransactionReport {
        do {
            return TransactionReport(receipt: try await run(), nodes: nodes)
        } catch is CancellationError {
            return TransactionReport(interrupted: id, nodes: nodes)
        } catch let error as TandemError {
            if error.effect == .none, error.code.entry?.exitCode == .usage { throw error }
            return await report(error)
        }
    }

    /// The nodes in the order in which the file names them first.
    private var nodes: [NodeName] {
        request.operations.map(\.node).reduce(into: []) { if !$0.contains($1) { $0.append($1) } }
    }

    private func report(_ error: TandemError) async -> TransactionReport {
        // This attempt is rolled back, which says nothing of an earlier one that is still on its way.
        if isOwn && error.isRollback, let earlier = try? await cluster.describe(id), earlier.isInDoubt || earlier.outcome == .committed {
            return TransactionReport(error, id: id, outcome: .inDoubt, nodes: nodes, exitCode: .outcomeUnknown)
        }
        if error.isRollback { return TransactionReport(error, id: id, outcome: .rolledBack, nodes: nodes, exitCode: .failed) }
        guard error.isOfEarlierUse else {
            return TransactionReport(error, id: id, outcome: .inDoubt, nodes: nodes, exitCode: .outcomeUnknown)
        }
        // The library has asked already: of this id nothing can commit any more.
        if error.code == .duplicateTransaction { return TransactionReport(error, id: id, outcome: .rolledBack, nodes: nodes, exitCode: .failed) }
        let outcome = (try? await cluster.describe(id))?.outcome ?? .inDoubt
        return TransactionReport(error, id: id, outcome: outcome, nodes: nodes, exitCode: .refusedBySafetyRule)
    }
}

extension TandemError {
    /// This attempt did nothing; but its id is that of an earlier one, about which "rolled back" may be untrue.
    fileprivate var isOfEarlierUse: Bool { code == .duplicateTransaction || code == .transactionForgotten }

    /// Whether nothing of the transaction will ever be visible.
    fileprivate var isRollback: Bool {
        switch effect {
        case .none, .rolledBack: !isOfEarlierUse
        case .inDoubt: false
        }
    }
}
