import TandemCluster
import TandemCore
import TandemPostgres

/// What the answers mean to the machine.
extension Commit {
    mutating func note(_ error: TandemError) {
        if cause == nil { cause = error }
    }

    /// What was thrown on the way to a message: an error of ours, or the caller's cancellation.
    mutating func note(thrown error: any Error) {
        if let error = error as? TandemError { note(error) } else { isCancelled = true }
    }

    mutating func judge(_ call: Call, _ answer: Result<BatchReply, ConnectionFailure>) -> CommitMachine.Event? {
        switch call.meaning {
        case .vote:
            let vote = judgeVote(call, answer)
            if vote == .no { givePermit(call.node) }
            // Prepared, the branch has left its session, which somebody else can use while the decision is made.
            if vote == .yes { branch(at: call.node)?.giveBack() }
            return .vote(call.node, vote)
        case .decision:
            let decision = judgeDecision(call, answer)
            if decision == .committed { branch(at: call.node)?.giveBack() }
            return .decision(decision)
        case .commitPrepared, .rollbackPrepared:
            let finish = Self.finish(from: answer)
            if finish == .done || finish == .missing { givePermit(call.node) }
            return .finished(call.node, finish)
        case .reader:
            guard case .success(let reply) = answer else { return .readerCommitted(call.node, false) }
            if let error = reply.only.error, let session = branch(at: call.node) {
                note(TandemError(error, node: session.name, effect: .rolledBack, phase: "commit"))
            }
            return .readerCommitted(call.node, reply.only.error == nil && reply.only.lastTag == "COMMIT")
        case .silent: return nil
        }
    }

    mutating func judgeVote(_ call: Call, _ answer: Result<BatchReply, ConnectionFailure>) -> Vote {
        guard let session = branch(at: call.node) else { return .unknown }
        switch answer {
        case .failure(let failure):
            note(TandemError(failure, node: session.name, effect: .rolledBack, phase: "prepare"))
            return failure.wasSent ? .unknown : .no
        case .success(let reply):
            if let no = refusal(call, reply.only, session, phase: "prepare") { return no ? .no : .unknown }
            guard reply.only.lastTag == "PREPARE TRANSACTION" else {
                note(ended(session, "prepare"))
                return reply.only.lastTag == "ROLLBACK" ? .no : .unknown
            }
            // R5: a warning about replication or about a missing transaction makes the vote unconfirmed, which is no yes.
            guard !reply.only.isReplicationUnconfirmed, !reply.only.hasTransactionWarning else {
                note(
                    TandemError(
                        .nodeUnreachable, "the vote may not have reached the standby", effect: .rolledBack, isRetrySafe: true, node: session.name,
                        phase: "prepare"))
                return .unknown
            }
            check(call, reply.only, session)
            return .yes
        }
    }

    mutating func judgeDecision(_ call: Call, _ answer: Result<BatchReply, ConnectionFailure>) -> Decision {
        guard let session = branch(at: call.node) else { return .unknown }
        switch answer {
        case .failure(let failure):
            note(TandemError(failure, node: session.name, effect: failure.wasSent ? .inDoubt(transaction) : .rolledBack, phase: "decision"))
            return failure.wasSent ? .unknown : .refused
        case .success(let reply):
            if let no = refusal(call, reply.only, session, phase: "decision") { return no ? .refused : .unknown }
            guard reply.only.lastTag == "COMMIT" else {
                note(ended(session, "decision"))
                return reply.only.lastTag == "ROLLBACK" ? .refused : .unknown
            }
            guard !reply.only.isReplicationUnconfirmed, !reply.only.hasTransactionWarning else { return .unknown }
            check(call, reply.only, session)
            return .committed
        }
    }

    /// Whether an error proves that the branch is gone (A14: severity ERROR on the first and only sending): `nil` without an error.
    mutating func refusal(_ call: Call, _ reply: SegmentReply, _ session: BranchSession, phase: String) -> Bool? {
        guard let error = reply.error else { return nil }
        let isUserStatement = reply.results.count >= call.opening && reply.results.count < call.opening + call.deferred
        note(
            isUserStatement || error.isFatal
                ? TandemError(error, node: session.name, effect: .rolledBack, phase: isUserStatement ? "statement" : phase)
                : VoteFailure.error(error, node: session.name, phase: phase, gid: gid(at: call.node)))
        return !error.isFatal
    }

    func ended(_ session: BranchSession, _ phase: String) -> TandemError {
        TandemError(
            .transactionEnded, "the server rolled the branch back instead", effect: .rolledBack, isRetrySafe: false, node: session.name,
            nextStep: "look for a statement whose error was swallowed", phase: phase)
    }

    /// Looks at the results of the statements that travelled with a vote or the decision.
    mutating func check(_ call: Call, _ reply: SegmentReply, _ session: BranchSession) {
        guard call.deferred > 0 else { return }
        let results = Array(reply.results.dropFirst(call.opening).prefix(call.deferred))
        if let wrong = examine(session, results) { note(wrong) }
    }

    static func finish(from answer: Result<BatchReply, ConnectionFailure>) -> Finish {
        guard case .success(let reply) = answer else { return .unknown }
        for segment in reply.segments {
            let finish = finish(from: segment)
            if finish != .done { return finish }
        }
        return .done
    }

    /// What the answer to COMMIT PREPARED or ROLLBACK PREPARED says.
    static func finish(from segment: SegmentReply) -> Finish {
        switch segment.error?.sqlState {
        case nil: segment.isReplicationUnconfirmed ? .unknown : .done
        case .undefinedObject?: .missing
        case .objectNotInPrerequisiteState?: .busy
        default: .unknown
        }
    }
}
