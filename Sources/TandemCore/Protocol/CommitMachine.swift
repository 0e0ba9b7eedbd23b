/// The coordinator's side of the commit of one global transaction: it decides what to do next, and somebody else does it.
///
/// The transaction commits when the ordinary COMMIT of one branch, at the **commit point**, is durable; that commit carries the row that
/// recovery reads. All other branches that wrote are prepared before and finished after it (presumed abort with a last resource: Mohan et
/// al., "Transaction Management in the R* Distributed Database Management System", 1986). Recovery may work on the same branches at any
/// moment; the register's first writer wins, so nothing here rests on being alone.
///
/// ```swift
/// var machine = CommitMachine(writers: [one, two], commitPoint: one)
/// machine.on(.begin)                      // [.prepare(two)]
/// machine.on(.vote(two, .yes))            // [.decide(one)]
/// machine.on(.decision(.committed))       // [.conclude(.committed), .commitPrepared(two)]
/// machine.on(.finished(two, .done))       // [.conclude(.applied)]
/// ```
package struct CommitMachine: Hashable, Sendable {
    /// What has happened: an answer to an action, or the caller's patience at its end.
    package enum Event: Hashable, Sendable {
        case begin
        /// The answer to ``Action/prepare(_:)``.
        case vote(NodeID, Vote)
        /// The answer to ``Action/decide(_:)``; a late one is welcome too.
        case decision(Decision)
        /// The answer to ``Action/askRegister(_:)``.
        case verdict(Verdict)
        /// The answer to ``Action/commitPrepared(_:)`` or ``Action/rollbackPrepared(_:)``.
        case finished(NodeID, Finish)
        /// The answer to ``Action/readRow(_:)``.
        case row(NodeID, Row)
        /// The answer to ``Action/commitReader(_:)``: whether the tag was `COMMIT`.
        case readerCommitted(NodeID, Bool)
        /// Try again to finish a branch whose answer was busy or lost.
        case retry(NodeID)
        /// Time is over, or the caller wants no more: before the decision was sent this rolls back, after it this stops waiting.
        case giveUp
    }

    /// What to do next; the actions of one list may run at the same time.
    package enum Action: Hashable, Sendable {
        /// Send the message that carries the row and PREPARE TRANSACTION.
        case prepare(NodeID)
        /// COMMIT a serializable branch that only read, because its commit may fail.
        case commitReader(NodeID)
        /// Send, once and never again, the message that carries the row and COMMIT.
        case decide(NodeID)
        /// Ask the register by the one statement that decides; see ``Verdict``. After an undecided one, wait a little first.
        case askRegister(NodeID)
        case commitPrepared(NodeID)
        case rollbackPrepared(NodeID)
        /// ROLLBACK of a branch that is not prepared (nothing to send where it has not begun, or its connection is gone). It has no answer.
        case rollback(NodeID)
        /// End a branch that only read, in whatever way. It has no answer.
        case endReader(NodeID)
        /// Read this transaction's row at this node.
        case readRow(NodeID)
        /// Tell the caller, or raise an alarm.
        case conclude(Conclusion)
    }

    /// What is known now. Each but the alarms comes at most once.
    package enum Conclusion: Hashable, Sendable {
        /// The decision is durable; it comes as soon as that is known, before any branch is finished (R11).
        case committed
        /// No commit is possible any more.
        case rolledBack
        /// The decision was sent and nobody has told what became of it; `committed` or `rolledBack` may still follow.
        case inDoubt
        /// Alarm: the transaction committed, and the branch on this node is gone without having committed (R16).
        case lost(NodeID)
        /// Alarm: the transaction went one way and the branch on this node the other.
        case mixed(NodeID)
        /// After `committed`: no member is pending any more.
        case applied
    }

    private enum Phase: Hashable {
        case idle, voting, deciding, asking
        /// In doubt, and no question is on its way; a late answer to an old one still counts.
        case held
        case committing, aborting
    }

    private struct Member: Hashable {
        enum State: Hashable {
            case open, preparing, prepared
            /// Its COMMIT PREPARED or ROLLBACK PREPARED is on its way.
            case finishing
            /// Its gid is gone and its row is being read.
            case checking
            /// It has not answered, or answered "not yet": recovery's work, or a retry's.
            case stalled
            /// Its gid and its row are gone: too long ago to tell, so it stays pending.
            case unproven
            /// Nothing is left to do here.
            case ended
        }
        let node: NodeID
        let isGuard: Bool
        var state = State.open
    }

    private struct Reader: Hashable {
        enum State: Hashable { case open, committing, ended }
        let node: NodeID
        let isSerializable: Bool
        var state = State.open
    }

    private let commitPoint: NodeID
    private let isRecorded: Bool
    private var phase = Phase.idle
    private var members: [Member]
    private var readers: [Reader]

    /// Whether the decision's message has been asked for: from then on the outcome is the register's, not the coordinator's.
    package private(set) var decisionWasSent = false
    /// What became of the transaction: nil while it is under way.
    package private(set) var outcome: Outcome?

    /// The commit of one transaction whose statements have all been answered.
    ///
    /// - Parameters:
    ///   - writers: The nodes whose branches wrote, without doubles, in the global order of nodes; one writer needs only the decision.
    ///   - commitPoint: The writer whose COMMIT is the decision.
    ///   - readers: The nodes whose branches have no transaction id on the server.
    ///   - serializableReaders: The same for SERIALIZABLE branches, whose COMMIT may fail; not among `readers`.
    ///   - guards: The writers that hold an advisory or guard lock for rows of other nodes; never the commit point.
    ///   - isRecorded: Whether the decision's message inserts the row. Only a transaction of one writer may do without it.
    package init(
        writers: [NodeID], commitPoint: NodeID, readers: [NodeID] = [], serializableReaders: [NodeID] = [], guards: [NodeID] = [],
        isRecorded: Bool = true
    ) {
        precondition(writers.contains(commitPoint), "the commit point is one of the writers")
        assert(Set(writers + readers + serializableReaders).count == writers.count + readers.count + serializableReaders.count)
        // R8a: the commit point's locks end at the decision, before the other nodes' rows are visible.
        precondition(!guards.contains(commitPoint) && guards.allSatisfy(writers.contains), "a guard is prepared")
        precondition(isRecorded || writers.count == 1, "without a row nobody could finish a prepared branch")
        self.commitPoint = commitPoint
        self.isRecorded = isRecorded
        self.members = writers.filter { $0 != commitPoint }.map { Member(node: $0, isGuard: guards.contains($0)) }
        self.readers =
            readers.map { Reader(node: $0, isSerializable: false) }
            + serializableReaders.map { Reader(node: $0, isSerializable: true) }
    }

    /// The members of a committed transaction that are not proven to have committed yet.
    package var pending: [NodeID] {
        phase == .committing ? members.filter { $0.state != .ended }.map(\.node) : []
    }

    /// Whether no answer is awaited: nothing more happens without ``Event/retry(_:)``.
    package var isSettled: Bool {
        switch phase {
        case .idle, .voting, .deciding, .asking: return false
        case .held: return true
        case .committing, .aborting: break
        }
        return readers.allSatisfy { $0.state != .committing }
            && members.allSatisfy { member in
                switch member.state {
                case .stalled, .unproven, .ended: true
                case .prepared: phase == .committing  // a guard that waits for members that are stalled
                case .open, .preparing, .finishing, .checking: false
                }
            }
    }

    /// Takes what has happened and says what to do next; an event that no action waits for changes nothing.
    ///
    /// - Parameter event: The answer to an action, or the caller's patience at its end.
    /// - Returns: The actions, which may run at the same time.
    package mutating func on(_ event: Event) -> [Action] {
        switch event {
        case .begin: begin()
        case .vote(let node, let vote): voted(node, vote)
        case .readerCommitted(let node, let isCommitted): readerCommitted(node, isCommitted)
        case .decision(let decision): decided(decision)
        case .verdict(let verdict): judged(verdict)
        case .finished(let node, let finish): finished(node, finish)
        case .row(let node, let row): rowRead(node, row)
        case .retry(let node): retry(node)
        case .giveUp: giveUp()
        }
    }
}

// MARK: - Votes

extension CommitMachine {
    private mutating func begin() -> [Action] {
        guard phase == .idle else { return [] }
        phase = .voting
        var actions: [Action] = []
        for index in members.indices {
            members[index].state = .preparing
            actions.append(.prepare(members[index].node))
        }
        // R7, A5: a SERIALIZABLE branch that only read may still fail at its COMMIT, so that is a vote. The others only hold locks and a
        // snapshot; ended here, a lock of theirs would be given up before the rows it protects are visible elsewhere.
        for index in readers.indices where readers[index].isSerializable {
            readers[index].state = .committing
            actions.append(.commitReader(readers[index].node))
        }
        return actions + decideOnceUnanimous()
    }

    private mutating func voted(_ node: NodeID, _ vote: Vote) -> [Action] {
        // One vote a branch: a second one would be the answer to a message that was sent twice, and proves nothing about the first.
        guard let index = index(of: node, in: .preparing) else { return [] }
        switch vote {
        case .yes:
            members[index].state = .prepared
            return phase == .voting ? decideOnceUnanimous() : rollBackPrepared(index)
        case .no:
            members[index].state = .ended
            // The failed block may still be open on its connection: ROLLBACK ends it there.
            return [.rollback(node)] + (phase == .voting ? abort() : [])
        case .unknown:
            // A14: it may be prepared, now or later (R15). Nothing that is sent now would be sure to come after its PREPARE, so it is left
            // to recovery, which finds the gid whenever it appears and asks the register.
            members[index].state = .ended
            return phase == .voting ? abort() : []
        }
    }

    private mutating func readerCommitted(_ node: NodeID, _ isCommitted: Bool) -> [Action] {
        guard let index = readers.firstIndex(where: { $0.node == node && $0.state == .committing }) else { return [] }
        readers[index].state = .ended
        guard phase == .voting else { return [] }
        return isCommitted ? decideOnceUnanimous() : abort()
    }

    /// R8: every vote first, then the decision. Decided earlier, a later "no" would leave one branch committed and another gone.
    private mutating func decideOnceUnanimous() -> [Action] {
        guard members.allSatisfy({ $0.state == .prepared }), readers.allSatisfy({ $0.state != .committing }) else { return [] }
        phase = .deciding
        decisionWasSent = true
        return [.decide(commitPoint)]
    }
}

// MARK: - The decision

extension CommitMachine {
    private mutating func decided(_ decision: Decision) -> [Action] {
        switch phase {
        case .idle, .voting:
            return []
        case .deciding, .asking, .held:
            switch decision {
            case .committed: return commit()
            // R12: the commit point's only sending was refused, so this transaction has no commit any more; no tombstone is needed.
            case .refused: return [.rollback(commitPoint)] + abort()
            // A14: never sent again: the first one may have committed, or may do so after the second was refused.
            case .unknown: return phase == .deciding ? askOrHold() : []
            }
        case .committing:
            // The register said 'W', durably: the branch that wrote it cannot have been refused, unless a node went back in time.
            return decision == .refused ? [.conclude(.mixed(commitPoint))] : []
        case .aborting:
            guard decisionWasSent else { return [] }
            switch decision {
            case .committed: return [.conclude(.mixed(commitPoint))]
            case .refused: return [.rollback(commitPoint)]
            case .unknown: return []
            }
        }
    }

    /// R13: the coordinator that does not know its own decision asks as recovery does, tombstone first. A row missing in a plain read would
    /// be no answer, since the COMMIT may still be on its way.
    private mutating func askOrHold() -> [Action] {
        guard isRecorded else {
            // Without a row the register knows nothing: the question would write a tombstone over a commit and call it rolled back.
            return hold()
        }
        phase = .asking
        return [.askRegister(commitPoint)]
    }

    private mutating func judged(_ verdict: Verdict) -> [Action] {
        switch phase {
        case .idle, .voting, .deciding, .committing, .aborting:
            return []
        case .asking, .held:
            switch verdict {
            case .committed: return commit()
            // R12: the tombstone is durable, so the decision, wherever its message is now, will be refused.
            case .aborted: return abort()
            case .undecided: return phase == .asking ? [.askRegister(commitPoint)] : []
            // R17: the row may have been there and be gone. Nothing is decided.
            case .forgotten: return hold()
            }
        }
    }

    private mutating func hold() -> [Action] {
        guard phase != .held else { return [] }
        phase = .held
        outcome = .inDoubt
        return [.conclude(.inDoubt)]
    }

    private mutating func giveUp() -> [Action] {
        switch phase {
        case .idle, .voting: return abort()
        case .deciding: return askOrHold()
        case .asking: return hold()
        case .held, .aborting: return []
        case .committing:
            // Whoever waits has waited long enough: the guards are let go and the connections of the readers come back. From here the order
            // of R7 and R8a holds only for the members that have answered.
            return commitGuards() + endReaders()
        }
    }
}

// MARK: - Finishing

extension CommitMachine {
    private mutating func commit() -> [Action] {
        phase = .committing
        outcome = .committed
        var actions: [Action] = [.conclude(.committed)]
        for index in members.indices where !members[index].isGuard {
            members[index].state = .finishing
            actions.append(.commitPrepared(members[index].node))
        }
        return actions + proceedWithCommit()
    }

    /// R12: only called where no commit is possible: the decision was never asked for (and never will be, this phase being final), or it
    /// was refused, or its tombstone is durable.
    private mutating func abort() -> [Action] {
        // The decision's own branch has ended with its message, or sits on a connection that nobody can use.
        var actions: [Action] = decisionWasSent ? [] : [.rollback(commitPoint)]
        phase = .aborting
        outcome = .rolledBack
        for index in members.indices {
            switch members[index].state {
            case .open:
                members[index].state = .ended
                actions.append(.rollback(members[index].node))
            case .prepared:
                actions += rollBackPrepared(index)
            case .preparing, .finishing, .checking, .stalled, .unproven, .ended:
                break  // a branch that is still voting is rolled back when its vote is in
            }
        }
        return actions + endReaders() + [.conclude(.rolledBack)]
    }

    private mutating func rollBackPrepared(_ index: Int) -> [Action] {
        members[index].state = .finishing
        return [.rollbackPrepared(members[index].node)]
    }

    private mutating func finished(_ node: NodeID, _ finish: Finish) -> [Action] {
        guard let index = index(of: node, in: .finishing) else { return [] }
        switch finish {
        case .done:
            members[index].state = .ended
            return proceedWithCommit()
        case .missing:
            // R16: 42704 means finished by recovery, or lost; the row tells which.
            members[index].state = .checking
            return [.readRow(node)]
        case .busy, .unknown:
            members[index].state = .stalled
            return []
        }
    }

    /// R16: the gid is gone; its row says whether that is right.
    private mutating func rowRead(_ node: NodeID, _ row: Row) -> [Action] {
        guard let index = index(of: node, in: .checking) else { return [] }
        guard row != .unreachable else {
            members[index].state = .stalled
            return []
        }
        members[index].state = .ended
        guard phase == .committing else {
            // After an abort a branch that is gone is what was wanted, unless it committed.
            return row == .work ? [.conclude(.mixed(node))] : []
        }
        switch row {
        case .work: return proceedWithCommit()
        case .absent: return [.conclude(.lost(node))] + proceedWithCommit()
        case .tombstone: return [.conclude(.mixed(node))] + proceedWithCommit()
        case .forgotten, .unreachable:
            // Too long ago to tell: no alarm, and no claim either, so it stays pending.
            members[index].state = .unproven
            return []
        }
    }

    private mutating func retry(_ node: NodeID) -> [Action] {
        guard let index = index(of: node, in: .stalled) else { return [] }
        members[index].state = .finishing
        return [phase == .committing ? .commitPrepared(node) : .rollbackPrepared(node)]
    }

    /// What the end of one branch makes possible for those that wait.
    private mutating func proceedWithCommit() -> [Action] {
        guard phase == .committing else { return [] }
        var actions: [Action] = []
        // R8a: a guard's lock protects rows of other nodes, so it is held until those rows are visible.
        if members.allSatisfy({ $0.isGuard || $0.state == .ended }) { actions += commitGuards() }
        guard members.allSatisfy({ $0.state == .ended }) else { return actions }
        // R7, A5: the readers' locks end after the last COMMIT PREPARED has been answered, or a mutex would be free before the write it
        // protects is visible: a lost update.
        return actions + endReaders() + [.conclude(.applied)]
    }

    private mutating func commitGuards() -> [Action] {
        var actions: [Action] = []
        for index in members.indices where members[index].state == .prepared {
            members[index].state = .finishing
            actions.append(.commitPrepared(members[index].node))
        }
        return actions
    }

    private mutating func endReaders() -> [Action] {
        var actions: [Action] = []
        for index in readers.indices where readers[index].state == .open {
            readers[index].state = .ended
            actions.append(.endReader(readers[index].node))
        }
        return actions
    }

    private func index(of node: NodeID, in state: Member.State) -> Int? {
        members.firstIndex { $0.node == node && $0.state == state }
    }
}
