import TandemCluster
import TandemCore
import TandemFailpoints
import TandemPostgres

/// The messages: votes, the decision, and what finishes a prepared branch.
extension Commit {
    mutating func prepare(_ node: NodeID, _ calls: inout [Call], _ events: inout [CommitMachine.Event]) async {
        guard let session = branch(at: node), let gid = gid(at: node) else { return }
        guard await add(node, session, closing: Register.prepare(gid), .vote, &calls) else {
            note(TandemError(.connectionLost, "the branch's connection was lost before its vote", effect: .rolledBack, isRetrySafe: true, node: session.name))
            givePermit(node)
            return events.append(.vote(node, .no))
        }
    }

    mutating func decide(_ node: NodeID, _ calls: inout [Call], _ events: inout [CommitMachine.Event]) async {
        guard let session = branch(at: node) else { return }
        do {
            try await beforeDecision?()
            // The connection before the checks: what it knows of its server is what counts.
            _ = try await session.open()
        } catch {
            note(thrown: error)
            await rollBackOpen(session)
            return events.append(.decision(.refused))
        }
        await Failpoints.pass(.beforeDecision)
        // A13: a decision counts only on the timeline on which the branch began; a server that was left behind by a failover decides nothing.
        let isLeftBehind = (session.identity?.timeline ?? 0) < session.node.highestTimeline
        guard ContinuousClock.now < deadline, !Task.isCancelled, !isLeftBehind,
            await add(node, session, closing: Register.commit, .decision, &calls)
        else {
            isCancelled = Task.isCancelled
            if isLeftBehind {
                note(
                    TandemError(
                        .identityMismatch, "the node was promoted elsewhere while the transaction ran", effect: .rolledBack, isRetrySafe: true,
                        node: session.name))
            } else if !isCancelled && ContinuousClock.now < deadline {
                note(
                    TandemError(
                        .connectionLost, "the commit point's connection was lost before the decision", effect: .rolledBack, isRetrySafe: true,
                        node: session.name))
            }
            // It was not sent and never will be: as good as refused.
            await rollBackOpen(session)
            return events.append(.decision(.refused))
        }
    }

    /// Ends a branch whose decision was not sent.
    func rollBackOpen(_ session: BranchSession) async {
        guard let connection = session.connection, !connection.isClosed else { return }
        _ = await Connection.gather([(connection, Batch([Register.rollback], interruption: .abandon))], on: lane.reactor, deadline: .now + Self.patience)
    }

    /// The message that carries what was deferred, the row, and PREPARE or COMMIT (A7, B3).
    mutating func add(
        _ node: NodeID, _ session: BranchSession, closing: Statement, _ meaning: Call.Meaning, _ calls: inout [Call]
    ) async -> Bool {
        let connection: Connection, row: RowStatement?
        do {
            // Here a branch that is one message leases its connection. It waits for none: an admitted transaction has its places.
            connection = try await session.open()
            row = transaction.isRecorded ? try runtime.row(of: node, cluster) : nil
        } catch {
            note(thrown: error)
            return false
        }
        if connection.isClosed { return false }
        let (deferred, isFirst, isMarked) = session.takeDeferred(on: connection)
        let opening = isFirst ? session.opening(isMarked: isMarked) : []
        var statements = opening + deferred
        if session.mayDefer { statements.append(Register.immediateConstraints) }
        if let role = session.node.quotedRole { statements.append(Statement("SET LOCAL ROLE \(role)")) }
        statements.append(row?.insert(transaction, members: members, isMarked: isMarked) ?? Register.durable)
        statements.append(closing)
        calls.append(
            Call(
                node: node, meaning: meaning, connection: connection, batch: Batch(statements, interruption: .abandon), opening: opening.count,
                deferred: deferred.count))
        return true
    }

    /// COMMIT PREPARED or ROLLBACK PREPARED on any connection of the lane to the node: a prepared branch belongs to no session.
    func finish(_ node: NodeID, _ meaning: Call.Meaning, _ calls: inout [Call]) async -> Bool {
        guard let message = finishing(node, meaning == .commitPrepared), let session = branch(at: node) else { return false }
        // With `decided` the caller waits for nothing that comes after the decision.
        let isHurried = isCommitted && options.acknowledgement == .decided
        let connection = isHurried ? session.reopen() : await session.reopen(within: Self.patience)
        guard let connection else { return false }
        let batch = Batch(segments: message.segments, interruption: .abandon)
        calls.append(Call(node: node, meaning: meaning, connection: connection, batch: batch, opening: 0, deferred: 0))
        return true
    }

    func finishing(_ node: NodeID, _ isCommit: Bool) -> FinishingMessage? {
        guard let session = branch(at: node), let gid = gid(at: node) else { return nil }
        return session.node.finishing([[isCommit ? Register.commitPrepared(gid) : Register.rollbackPrepared(gid)]])
    }
}
