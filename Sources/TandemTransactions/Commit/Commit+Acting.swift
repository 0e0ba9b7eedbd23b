import Logging
import TandemCluster
import TandemCore
import TandemFailpoints
import TandemPostgres

/// Sends what the machine asks for, waits, and tells it what came of it.
extension Commit {
    /// A batch on its way to one node, and what its answer means.
    struct Call: Sendable {
        enum Meaning { case vote, decision, commitPrepared, rollbackPrepared, reader, silent }
        let node: NodeID
        let meaning: Meaning
        let connection: Connection
        let batch: Batch
        let opening: Int
        let deferred: Int
    }

    mutating func act(_ first: [CommitMachine.Action]) async {
        var actions = first
        while !actions.isEmpty && !isDetached {
            var calls: [Call] = []
            var events: [CommitMachine.Event] = []
            var questions: [CommitMachine.Action] = []
            for action in actions {
                switch action {
                case .prepare(let node): await prepare(node, &calls, &events)
                case .decide(let node): await decide(node, &calls, &events)
                case .commitReader(let node):
                    add(.reader, node, Batch([Register.commit], interruption: .abandon), to: &calls) { events.append(.readerCommitted(node, false)) }
                case .commitPrepared(let node): if await !finish(node, .commitPrepared, &calls) { questions.append(action) }
                case .rollbackPrepared(let node): if await !finish(node, .rollbackPrepared, &calls) { questions.append(action) }
                case .rollback(let node): add(.silent, node, Batch([Register.rollback], interruption: .abandon), to: &calls) {}
                case .endReader(let node):
                    add(.silent, node, Batch([isCommitted ? Register.commit : Register.rollback], interruption: .abandon), to: &calls) {}
                case .askRegister, .readRow: questions.append(action)
                case .conclude(let conclusion): conclude(conclusion)
                }
            }
            if Failpoints.isArmed { await passBefore(calls) }
            let isPhaseTwo = calls.allSatisfy { $0.meaning == .commitPrepared || $0.meaning == .silent }
            if isCommitted && options.acknowledgement == .decided && isPhaseTwo {
                detach(calls, unsent: questions)
                return
            }
            let part = runtime.telemetry.begin(Self.phase(of: calls), transaction, nodes: calls.count)
            let flight = Connection.launch(calls.map { ($0.connection, $0.batch) }, on: lane.reactor, deadline: limit(of: calls))
            if Failpoints.isArmed { await passSent(calls) }
            let answers = await landing(of: flight, calls)
            runtime.telemetry.end(part)
            if Failpoints.isArmed { await passAfter(calls) }
            // A violated expectation or a cancelled caller ends the votes before the last of them could start the decision.
            events += zip(calls, answers).compactMap { judge($0, $1) }
            if !machine.decisionWasSent, cause != nil || Task.isCancelled {
                isCancelled = Task.isCancelled
                events.insert(.giveUp, at: 0)
            }
            for question in questions { events.append(await ask(question)) }
            actions = events.flatMap { machine.on($0) }
        }
    }

    /// What a set of calls is for; `nil` where it is nothing that lasts.
    private static func phase(of calls: [Call]) -> Telemetry.Phase? {
        guard let meaning = calls.first(where: { $0.meaning != .silent })?.meaning else { return nil }
        return switch meaning {
        case .vote, .reader: .prepare
        case .decision: .decide
        case .commitPrepared: .finish
        case .rollbackPrepared: .rollBack
        case .silent: nil
        }
    }

    /// The answers to what was sent.
    ///
    /// A cancelled caller does not wait for user statements that travel with a vote or the decision, which may stand behind somebody's lock.
    ///
    /// A vote is cancelled at the server: whatever becomes of it, the transaction ends rolled back, since the decision will not be sent. An error is
    /// a "no"; without an answer its connection is closed, and a branch that prepared itself all the same is recovery's (R15). A decision is never
    /// cancelled (A3): its connection is closed and the register is asked, where the tombstone wins unless the COMMIT has begun.
    func landing(of flight: Connection.Flight, _ calls: [Call]) async -> [Result<BatchReply, ConnectionFailure>] {
        guard calls.contains(where: { $0.deferred > 0 }) else { return await flight.answers() }
        let reactor = lane.reactor
        return await withTaskCancellationHandler {
            await flight.answers()
        } onCancel: {
            let open = calls.indices.filter { calls[$0].deferred > 0 }
            let voters = open.filter { calls[$0].meaning == .vote }, others = open.filter { calls[$0].meaning != .vote }
            reactor.execute {
                // What has landed is nobody's business any more: its connection may be with somebody else.
                flight.cancel(voters)
                flight.close(others)
                reactor.schedule(at: .now + Self.patience) { flight.close(voters) }
            }
        }
    }

    /// Votes end at the transaction's deadline. What comes after the decision gets some time even when none is left: its answers are wanted.
    func limit(of calls: [Call]) -> ContinuousClock.Instant {
        calls.contains { $0.meaning == .vote } ? deadline : max(deadline, .now + Self.patience)
    }

    mutating func add(_ meaning: Call.Meaning, _ node: NodeID, _ batch: Batch, to calls: inout [Call], otherwise: () -> Void) {
        guard let session = branch(at: node), let connection = session.connection, !connection.isClosed else { return otherwise() }
        calls.append(Call(node: node, meaning: meaning, connection: connection, batch: batch, opening: 0, deferred: 0))
    }

    mutating func conclude(_ conclusion: CommitMachine.Conclusion) {
        switch conclusion {
        case .committed: isCommitted = true
        case .rolledBack, .inDoubt, .applied: break
        case .lost(let node): contradict(.lost, node)
        case .mixed(let node): contradict(.mixed, node)
        }
    }

    /// R16: never silent. What the caller is told stays; that a branch went another way is for whoever looks after the nodes.
    private func contradict(_ kind: Contradiction.Kind, _ node: NodeID) {
        let name = branch(at: node)?.name ?? seats[0].session.name, other = seats.first { $0.session.name != name }?.session.name ?? name
        let commitPoint = branch(at: commitPoint)?.name ?? name
        // The branch committed by itself, while the others were rolled back; or the others committed without it.
        let isAlone = machine.outcome == .rolledBack || name == commitPoint
        let contradiction = Contradiction(
            transaction: transaction, kind: kind, committed: isAlone ? name : commitPoint,
            missing: isAlone ? (name == commitPoint ? other : commitPoint) : name)
        let record = ContradictionRecord(cluster: cluster)
        record.raise(contradiction)
        // Nobody who runs a transaction waits until it is written down. Where that fails, the comparison of the registers finds it again.
        Task { try? await record.report(contradiction, isRaised: true) }
    }

    // MARK: Failpoints and phase two in the background

    func passBefore(_ calls: [Call]) async {
        for call in calls {
            switch call.meaning {
            case .vote: await Failpoints.pass(.beforePrepare)
            case .commitPrepared: await Failpoints.pass(.beforeCommitPrepared)
            case .rollbackPrepared: await Failpoints.pass(.beforeRollbackPrepared)
            case .decision, .reader, .silent: break
            }
        }
    }

    func passSent(_ calls: [Call]) async {
        for call in calls {
            switch call.meaning {
            case .vote: await Failpoints.pass(.afterPrepareSent)
            case .decision: await Failpoints.pass(.afterDecisionSent)
            case .commitPrepared: await Failpoints.pass(.afterCommitPreparedSent)
            case .rollbackPrepared, .reader, .silent: break
            }
        }
    }

    func passAfter(_ calls: [Call]) async {
        for call in calls {
            switch call.meaning {
            case .vote: await Failpoints.pass(.afterPrepare)
            case .decision: await Failpoints.pass(.afterDecision)
            case .commitPrepared: await Failpoints.pass(.afterCommitPrepared)
            case .rollbackPrepared: await Failpoints.pass(.afterRollbackPrepared)
            case .reader, .silent: break
            }
        }
    }

    /// R11, C1: COMMIT PREPARED is sent at once and its answer read with the connection's next use; the caller does not wait for it. Where no connection
    /// is idle (the branch's own may still be on the way back to its first state) it is sent as soon as there is one.
    mutating func detach(_ calls: [Call], unsent: [CommitMachine.Action]) {
        isDetached = true
        let limit = Self.detachedPatience
        for call in calls {
            let end = ending(of: call.node, isAwaited: call.meaning == .commitPrepared)
            lane.reactor.execute { call.connection.submit(call.batch, deadline: .now + limit) { end($0) } }
        }
        for case .commitPrepared(let node) in unsent {
            guard let session = branch(at: node), let message = finishing(node, true) else { continue }
            let end = ending(of: node, isAwaited: true)
            lane.reactor.execute {
                session.whenOpen(within: limit) { connection in
                    guard let connection else { return end(nil) }
                    connection.submit(Batch(segments: message.segments, interruption: .abandon), deadline: .now + limit) {
                        end($0)
                        session.giveBack()
                    }
                }
            }
        }
    }

    /// What the answer to a branch's last message changes when nobody waits for it: the permit comes back, and a branch that is not known to be
    /// finished is left to recovery.
    private mutating func ending(of node: NodeID, isAwaited: Bool) -> @Sendable (Result<BatchReply, ConnectionFailure>?) -> Void {
        let runtime = runtime, cluster = cluster, transaction = transaction, permit = takeOverPermit(node), name = branch(at: node)?.name
        return { answer in
            if let permit { runtime.permits.release(permit, of: transaction) }
            guard isAwaited, let name, answer.map({ Self.finish(from: $0) }) != .done else { return }
            runtime.leftPending(transaction, [name], cluster)
        }
    }
}
