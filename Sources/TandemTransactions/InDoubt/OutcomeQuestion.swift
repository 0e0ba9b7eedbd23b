import TandemCluster
import TandemCore
import TandemPostgres

/// Asks for the outcome of one transaction until it is known or the time is over.
struct OutcomeQuestion {
    private static let backoff = Backoff(base: .milliseconds(50), cap: .seconds(2))
    /// How long one node may take to answer, at most and at least: a node that hangs must not use up all the time, nor be given none.
    private static let longest = Duration.seconds(10), shortest = Duration.seconds(1)

    let cluster: Cluster
    let transaction: TransactionID
    let deadline: ContinuousClock.Instant

    func run() async throws -> Outcome {
        // No register will ever know: whatever is not there proves nothing.
        guard transaction.isRecorded else { return .inDoubt }
        var attempt = 0
        var unnamed = UnnamedSession.Watch()
        let patience = ContinuousClock.now + Self.shortest
        while true {
            try Task.checkCancellation()
            if let outcome = try await look(&unnamed) { return outcome }
            // Sessions come and go in milliseconds: that somebody has to look twice is no reason for "nobody knows".
            let end = unnamed.mayBeOpen ? max(deadline, patience) : deadline
            guard ContinuousClock.now < end else { return .inDoubt }
            attempt += 1
            let delay = Self.backoff.delay(attempt: attempt, random: .random(in: 0..<1))
            try await Task.sleep(until: min(.now + delay, end))
        }
    }

    private var limit: Duration { min(Self.longest, max(Self.shortest, deadline - .now)) }

    /// One look at all nodes; `nil` while nobody can say.
    private func look(_ unnamed: inout UnnamedSession.Watch) async throws -> Outcome? {
        let evidence = await Survey(cluster: cluster, limit: limit).evidence(of: transaction)
        // A look that a node did not answer shows too few sessions, and decides nothing.
        if evidence.failure == nil { unnamed.look(evidence.unnamed) }
        let isLive = TransactionRuntime.of(cluster).isLive(transaction)
        switch try evidence.step(grace: cluster.configuration.recoveryGrace, isLive: isLive, mayBeOpen: unnamed.mayBeOpen) {
        case .wait: return nil
        case .answer(let outcome): return outcome
        case .ask(let node):
            let batch = Batch(Register.verdict(transaction, coordinator: cluster.coordinator), interruption: .abandon)
            guard let reply = try? await cluster.runControl(node, batch, within: limit) else { return nil }
            return switch Register.verdict(from: reply.only) {
            case .committed: .committed
            case .aborted: .rolledBack
            case .undecided, .forgotten: nil
            }
        }
    }
}

extension Evidence {
    /// What to do about a question for the outcome.
    enum Step: Equatable {
        /// Nobody can say yet.
        case wait
        case answer(Outcome)
        /// Ask the register there: for its barrier where it has a row, for its decision where it has none.
        case ask(NodeName)
    }

    func step(grace: Duration, isLive: Bool, mayBeOpen: Bool) throws(TandemError) -> Step {
        if isContradictory { return .answer(.inDoubt) }
        // R13a: what is visible may not be durable yet. Where a row stands, the question finds it and writes none.
        if let node = work ?? tombstone { return .ask(node.name) }
        if isLive || isOpen { return .wait }
        if let oldest = prepared.map(\.age).max() {
            guard oldest >= grace, commitPoints.count == 1, let id = commitPoints.first, let node = node(id), node.failure == nil else {
                return .wait
            }
            return .ask(node.name)
        }
        if failure != nil { return .wait }
        if isForgotten {
            throw TandemError(
                .transactionForgotten, "the id is older than what the nodes remember", nextStep: "the data itself has to tell what happened"
            )
        }
        return transaction.age >= grace && !mayBeOpen ? .answer(.rolledBack) : .wait
    }
}
