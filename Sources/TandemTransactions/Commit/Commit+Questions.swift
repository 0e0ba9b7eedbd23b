import TandemCluster
import TandemCore
import TandemPostgres

/// What is asked over the control connection, where the branch's own did not answer.
extension Commit {
    mutating func ask(_ action: CommitMachine.Action) async -> CommitMachine.Event {
        switch action {
        case .readRow(let node):
            guard let session = branch(at: node),
                let reply = try? await cluster.runControlToTheEnd(session.name, Batch([Register.read(transaction, node: node)]), within: Self.patience)
            else { return .row(node, .unreachable) }
            return .row(node, Register.row(from: reply.only))
        case .askRegister(let node):
            guard let session = branch(at: node), ContinuousClock.now < max(deadline, questionsEnd) else { return .giveUp }
            // To its end also where the caller has been cancelled: what it is told depends on the answer.
            if questions > 0 {
                await pause(Self.backoff.delay(attempt: questions, random: .random(in: 0..<1)))
            }
            questions += 1
            if questions > Self.mostQuestions { return .giveUp }
            let batch = Batch(Register.verdict(transaction, coordinator: cluster.coordinator), interruption: .abandon)
            guard let reply = try? await cluster.runControlToTheEnd(session.name, batch, within: Self.patience) else { return .verdict(.undecided) }
            let verdict = Register.verdict(from: reply.only)
            if verdict == .aborted {
                cause = cause?.with(effect: .rolledBack, isRetrySafe: true)
                isCancelled = Task.isCancelled
            }
            return .verdict(verdict)
        case .commitPrepared(let node), .rollbackPrepared(let node):
            // The lane has no connection for it. The node may well be there: one attempt on the connection that looks after transactions.
            guard let session = branch(at: node), let message = finishing(node, isCommitted) else { return .finished(node, .unknown) }
            let batch = Batch(segments: message.segments, interruption: .abandon)
            guard let reply = try? await cluster.runControlToTheEnd(session.name, batch, within: Self.patience)
            else {
                return .finished(node, .unknown)
            }
            return .finished(node, Self.finish(from: .success(reply)))
        case .prepare, .commitReader, .decide, .rollback, .endReader, .conclude: return .giveUp
        }
    }

    /// Waits on the reactor: a cancelled task would not wait at all, and ask without a pause.
    func pause(_ time: Duration) async {
        let reactor = lane.reactor
        await withCheckedContinuation { continuation in
            reactor.execute { reactor.schedule(at: .now + time) { continuation.resume() } }
        }
    }

    static let mostQuestions = 200
    var questionsEnd: ContinuousClock.Instant { deadline + Self.patience }
}
