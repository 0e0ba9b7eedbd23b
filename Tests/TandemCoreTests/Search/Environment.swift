@testable import TandemCore

/// What a step was, for a trace.
struct Label {
    let text: StaticString
    let index: Int
}

/// Everything around the machines: servers, wire, accidents. It knows no rule of the protocol but those that servers and the shell keep
/// (the unique key, the fence, the proof, tags mapped to answers); every decision is a machine's.
///
/// A request stays on the wire until it is executed, however late and whoever has died meanwhile; a request that never arrives is one that
/// stays for ever. The caller may be told "unknown" at any time before it has the answer. A machine that pauses is one that takes no step.
final class Environment {
    let configuration: Configuration
    let machines = Machines()
    private(set) var successors: [(world: World, label: Label)] = []

    init(_ configuration: Configuration) { self.configuration = configuration }

    func isBroken(_ rule: Break) -> Bool { configuration.broken == rule }

    /// All statements are answered, and the commit has not begun.
    func start() -> World {
        let nodes = Machines.nodes
        let members: BranchState = configuration.areMembersOpen ? .open : .none
        return World(
            coordinator: machines.number(of: CommitMachine(writers: nodes, commitPoint: nodes[0])),
            branch: Triple(configuration.isPointOpen ? .open : .none, members, members), accidentsLeft: configuration.accidents)
    }

    func expand(_ world: World) {
        successors.removeAll(keepingCapacity: true)
        coordinatorSteps(world)
        for member in 1...2 {
            prepareSteps(world, member)
            finishSteps(world, member)
        }
        pointSteps(world)
        questionSteps(world, .coordinator)
        recovererSteps(world, .first)
        if configuration.recoverers == 2 { recovererSteps(world, .second) }
        if configuration.forgets { horizonSteps(world) }
        if world.accidentsLeft > 0 { accidentSteps(world) }
    }

    func emit(_ world: World, _ text: StaticString, _ index: Int = 0) {
        var world = world
        world.normalise()
        successors.append((world, Label(text: text, index: index)))
    }

    /// A copy of the world with some changes.
    func changed(_ world: World, _ change: (inout World) -> Void) -> World {
        var world = world
        change(&world)
        return world
    }
}

// MARK: - The coordinator

extension Environment {
    /// Gives the coordinator an event and puts what it wants to send on the wire; a dead one hears nothing.
    func tell(_ world: inout World, _ event: CommitMachine.Event) {
        guard world.isCoordinatorAlive else { return }
        let step = machines.step(world.coordinator, event)
        world.coordinator = step.machine
        for action in step.actions { send(&world, action) }
    }

    private func send(_ world: inout World, _ action: CommitMachine.Action) {
        switch action {
        case .prepare(let node): world.prepare[index(node)] = .requested
        case .decide: world.decide = .requested
        // A question that is still on its way, or whose transaction is still open, serves for the next one as well.
        case .askRegister: if world.ask == .none { world.ask = .sent }
        case .commitPrepared(let node): world.finish[index(node)] = .commit
        case .rollbackPrepared(let node): world.finish[index(node)] = .rollback
        case .rollback(let node): sendRollback(&world, index(node))
        case .readRow(let node): world.reads[index(node)] = true
        case .conclude(let conclusion): conclude(&world, conclusion)
        case .commitReader, .endReader: break  // there are no readers here
        }
    }

    private func sendRollback(_ world: inout World, _ node: Int) {
        guard world.branch[node] == .open || world.branch[node] == .ended else { return }
        if node == 0 {
            world.rollsBackPoint = true
        } else {
            world.branch[node] = .aborted
        }
    }

    private func conclude(_ world: inout World, _ conclusion: CommitMachine.Conclusion) {
        switch conclusion {
        case .committed: world.told = .committed
        case .rolledBack: world.told = .rolledBack
        case .lost, .mixed: world.isReported = true
        case .inDoubt, .applied: break
        }
    }

    private func index(_ node: NodeID) -> Int { Int(node.rawValue) - 1 }

    private func coordinatorSteps(_ world: World) {
        guard world.isCoordinatorAlive else { return closingSteps(world) }
        emit(changed(world) { $0.coordinator = 0 }, "the coordinator dies")
        hear(world, .begin, "the coordinator begins")
        hear(world, .giveUp, "the coordinator gives up")
        for member in 1...2 { memberAnswers(world, member) }
        decisionAnswers(world)
        verdictAnswers(world)
        if configuration.userEnds { userSteps(world) }
    }

    private func hear(_ world: World, _ event: CommitMachine.Event, _ text: StaticString, _ index: Int = 0) {
        var next = world
        tell(&next, event)
        // An event that the machine does not wait for changes nothing; most of those offered here are.
        if next.coordinator != world.coordinator || event == .verdict(.undecided) { emit(next, text, index) }
    }

    /// The server notices that the client is gone: a branch that is open and has no message coming is rolled back.
    private func closingSteps(_ world: World) {
        for node in 0..<3 where world.branch[node] == .open || world.branch[node] == .ended {
            let isExpecting = node == 0 ? world.decide != .none : world.prepare[node] != .none
            if !isExpecting { emit(changed(world) { $0.branch[node] = .aborted }, "the connection closes at", node) }
        }
    }

    private func memberAnswers(_ world: World, _ member: Int) {
        let node = Machines.nodes[member]
        switch world.prepare[member] {
        case .answeredYes, .answeredNo:
            let vote: Vote = world.prepare[member] == .answeredYes || isBroken(.tagIgnored) ? .yes : .no
            let next = changed(world) { $0.prepare[member] = .none }
            emit(changed(next) { tell(&$0, .vote(node, vote)) }, "the vote arrives from", member)
            emit(changed(next) { tell(&$0, .vote(node, .unknown)) }, "the vote is lost from", member)
        case .requested:
            hear(world, .vote(node, .unknown), "no vote in time from", member)
            if isBroken(.earlyCommit) { hear(world, .vote(node, .yes), "a vote is taken for granted from", member) }
        case .none:
            break
        }
        hear(world, .finished(node, .unknown), "no answer to the finish in time from", member)
        hear(world, .retry(node), "the coordinator tries again at", member)
        guard world.reads[member] else { return }
        let next = changed(world) { $0.reads[member] = false }
        emit(changed(next) { tell(&$0, .row(node, readRow(world, member))) }, "the coordinator reads the row of", member)
        emit(changed(next) { tell(&$0, .row(node, .unreachable)) }, "the coordinator cannot read the row of", member)
    }

    private func readRow(_ world: World, _ node: Int) -> Row {
        switch world.row[node] {
        case .work: .work
        case .tombstone: .tombstone
        case .absent: world.horizon[node] == .below ? .absent : .forgotten
        }
    }

    private func decisionAnswers(_ world: World) {
        let next = changed(world) { if $0.decide == .answeredCommitted || $0.decide == .answeredRefused { $0.decide = .none } }
        if world.decide == .answeredCommitted {
            emit(changed(next) { tell(&$0, .decision(.committed)) }, "the decision's answer arrives: committed")
        }
        if world.decide == .answeredRefused {
            emit(changed(next) { tell(&$0, .decision(.refused)) }, "the decision's answer arrives: refused")
        }
        if isBroken(.resend) {
            if machines.step(world.coordinator, .decision(.unknown)).machine != world.coordinator {
                emit(changed(next) { $0.decide = .requested }, "the decision is sent again")
            }
        } else if isBroken(.unknownMeansNo) {
            hear(next, .decision(.refused), "no answer to the decision, taken for a no")
        } else {
            hear(next, .decision(.unknown), "no answer to the decision in time")
        }
    }

    private func verdictAnswers(_ world: World) {
        let next = changed(world) { if $0.ask.isAnswer { $0.ask = .none } }
        switch world.ask {
        case .answeredCommitted: emit(changed(next) { tell(&$0, .verdict(.committed)) }, "the coordinator hears the verdict: committed")
        case .answeredAborted: emit(changed(next) { tell(&$0, .verdict(.aborted)) }, "the coordinator hears the verdict: aborted")
        case .answeredForgotten: emit(changed(next) { tell(&$0, .verdict(.forgotten)) }, "the coordinator hears the verdict: forgotten")
        case .none, .sent, .holding, .barrier: break
        }
        hear(next, .verdict(isBroken(.undecidedMeansNo) ? .aborted : .undecided), "the coordinator hears no verdict")
    }

    /// Before the commit begins, a statement of the user may have been COMMIT, ROLLBACK or the like.
    private func userSteps(_ world: World) {
        guard world.coordinator == machines.number(of: CommitMachine(writers: Machines.nodes, commitPoint: Machines.nodes[0])) else {
            return
        }
        for node in 0..<3 where world.branch[node] == .open {
            emit(changed(world) { $0.branch[node] = .ended }, "user SQL ends the transaction at", node)
        }
    }
}

// MARK: - Members

extension Environment {
    private func prepareSteps(_ world: World, _ member: Int) {
        guard world.prepare[member] == .requested else { return }
        func answer(_ branch: BranchState?, _ wire: PrepareWire, _ text: StaticString) {
            emit(
                changed(world) {
                    if let branch { $0.branch[member] = branch }
                    $0.prepare[member] = wire
                }, text, member)
        }
        switch world.branch[member] {
        case .none, .open:
            // A branch that was open when the horizon was raised may still see the old one (REPEATABLE READ).
            let isFenced = world.horizon[member] != .below && !isBroken(.noHorizon)
            if !isFenced || world.branch[member] == .open { answer(.prepared, .answeredYes, "PREPARE succeeds at") }
            answer(.aborted, .answeredNo, "PREPARE fails at")
        case .ended:
            if isBroken(.noProof) {
                answer(.hollow, .answeredYes, "PREPARE of another transaction succeeds at")
            } else {
                answer(.aborted, .answeredNo, "the proof fails at")
            }
        case .prepared, .hollow, .committed, .aborted, .lost:
            answer(nil, .none, "PREPARE comes to nothing at")
        }
    }

    /// What COMMIT PREPARED or ROLLBACK PREPARED does on the server.
    private func finish(_ world: inout World, _ member: Int, commits: Bool) {
        if commits {
            world.branch[member] = world.branch[member] == .hollow ? .aborted : .committed
            world.row[member] = .work
        } else {
            world.branch[member] = .aborted
        }
    }

    /// The session of the PREPARE may not be done with the branch yet, until its answer is out.
    private func mayBeBusy(_ world: World, _ member: Int) -> Bool { world.prepare[member] == .answeredYes }

    private func finishSteps(_ world: World, _ member: Int) {
        let request = world.finish[member]
        guard request != .none else { return }
        let node = Machines.nodes[member]
        let next = changed(world) { $0.finish[member] = .none }
        if world.branch[member].isListed {
            let done = changed(next) { finish(&$0, member, commits: request == .commit) }
            emit(changed(done) { tell(&$0, .finished(node, .done)) }, "the coordinator's finish is done at", member)
            if mayBeBusy(world, member) {
                emit(changed(next) { tell(&$0, .finished(node, .busy)) }, "the coordinator's finish finds the branch busy at", member)
            }
            emit(done, "the coordinator's finish is done, and its answer lost, at", member)
        } else {
            emit(changed(next) { tell(&$0, .finished(node, .missing)) }, "the coordinator's finish finds no gid at", member)
        }
    }
}

// MARK: - The commit point

extension Environment {
    private func pointSteps(_ world: World) {
        if world.rollsBackPoint {
            emit(
                changed(world) {
                    $0.rollsBackPoint = false
                    if $0.branch[0] == .open || $0.branch[0] == .ended { $0.branch[0] = .aborted }
                }, "ROLLBACK at", 0)
        }
        if world.limbo {
            emit(changed(world) { $0.limbo = false }, "an abandoned tombstone is rolled back")
        }
        switch world.decide {
        case .requested: decisionArrives(world)
        case .executing: decisionCommits(world)
        case .none, .answeredCommitted, .answeredRefused: break
        }
    }

    private func answer(_ world: World, _ branch: BranchState?, _ wire: DecideWire, row: RowState? = nil, _ text: StaticString) {
        emit(
            changed(world) {
                if let branch { $0.branch[0] = branch }
                if let row { $0.row[0] = row }
                $0.decide = wire
            }, text)
    }

    private func decisionArrives(_ world: World) {
        let isOpen = world.branch[0] == .open
        switch world.branch[0] {
        case .none, .open:
            // It may fail for a reason of its own, and it always fails where a row is in the way.
            answer(world, .aborted, .answeredRefused, "the decision fails")
            guard world.row[0] == .absent else { return }
            let isFenced = world.horizon[0] != .below && !isBroken(.noHorizon)
            guard !isFenced || isOpen else { return }
            if isBroken(.earlyRow) { answer(world, .committed, .answeredCommitted, "the decision commits without its row") }
            // An uncommitted tombstone makes the row's insert wait.
            if !isKeyHeld(world) { answer(world, .open, .executing, "the decision inserts its row") }
        case .ended:
            if isBroken(.noProof) {
                answer(world, .aborted, .answeredCommitted, row: .work, "a decision without its work commits")
            } else {
                answer(world, .aborted, .answeredRefused, "the decision's proof fails")
            }
        case .committed:
            answer(world, nil, .answeredRefused, "a second decision fails with 23505")
        case .aborted, .prepared, .hollow, .lost:
            answer(world, nil, .none, "the decision comes to nothing")
        }
    }

    private func decisionCommits(_ world: World) {
        answer(world, .committed, .answeredCommitted, row: .work, "the decision commits")
        answer(world, .aborted, .answeredRefused, "the decision fails at its COMMIT")
        guard configuration.isSynchronous else { return }
        // The wait for the standby is cancelled: visible here, not there, and answered with a warning, which is no answer.
        emit(
            changed(world) {
                $0.branch[0] = .committed
                $0.row[0] = .work
                $0.isRowVolatile = true
                $0.decide = .none
            }, "the decision becomes visible without its standby")
    }

    /// Whether somebody has inserted the key at the commit point and neither committed nor rolled back.
    private func isKeyHeld(_ world: World) -> Bool {
        world.ask == .holding || world.first.task == .holding || world.second.task == .holding || world.limbo
    }
}

// MARK: - The register's question

/// Who asks.
enum Asker { case coordinator, first, second }

extension Environment {
    private func stage(_ world: World, _ asker: Asker) -> AskWire {
        switch asker {
        case .coordinator: world.ask
        case .first, .second:
            switch recoverer(world, asker).task {
            case .asking: .sent
            case .holding: .holding
            case .barrier: .barrier
            case .idle, .peeking, .committing, .rollingBack, .checking: .none
            }
        }
    }

    private func enter(_ world: inout World, _ asker: Asker, _ stage: AskWire) {
        switch asker {
        case .coordinator:
            world.ask = stage
        case .first, .second:
            setRecoverer(&world, asker) { $0.task = stage == .holding ? .holding : .barrier }
        }
    }

    /// The verdict's answer is on its way; a recoverer's is delivered at once, since taking it later is the same as acting upon it later.
    private func deliver(_ world: World, _ asker: Asker, _ verdict: Verdict, _ text: StaticString) {
        switch asker {
        case .coordinator:
            emit(
                changed(world) {
                    switch verdict {
                    case .committed: $0.ask = .answeredCommitted
                    case .aborted: $0.ask = .answeredAborted
                    case .forgotten: $0.ask = .answeredForgotten
                    case .undecided: $0.ask = .none
                    }
                }, text)
        case .first, .second:
            emit(changed(world) { recover(&$0, asker, .verdict(verdict)) }, text)
        }
    }

    private func questionSteps(_ world: World, _ asker: Asker) {
        switch stage(world, asker) {
        case .sent: questionArrives(world, asker)
        case .holding:
            // The own commit makes the tombstone durable; only then is it a verdict.
            let written = changed(world) {
                $0.row[0] = .tombstone
                $0.isRowVolatile = isBroken(.noBarrier)
            }
            deliver(written, asker, .aborted, "a tombstone commits")
            deliver(written, asker, .undecided, "a tombstone commits, and its answer is lost")
            if configuration.isSynchronous {
                deliver(changed(written) { $0.isRowVolatile = true }, asker, .undecided, "a tombstone becomes visible without its standby")
            }
            deliver(world, asker, .undecided, "a tombstone is rolled back")
        case .barrier:
            guard world.row[0] != .absent else { return deliver(world, asker, .undecided, "the row under the question is gone") }
            let written = changed(world) { $0.isRowVolatile = false }
            deliver(written, asker, world.row[0] == .work ? .committed : .aborted, "the barrier commits")
            deliver(written, asker, .undecided, "the barrier commits, and its answer is lost")
            deliver(world, asker, .undecided, "the barrier is not confirmed")
        case .none, .answeredCommitted, .answeredAborted, .answeredForgotten:
            break
        }
    }

    private func questionArrives(_ world: World, _ asker: Asker) {
        let isFenced = world.horizon[0] != .below && !isBroken(.noHorizon)
        if isFenced && (world.row[0] == .absent || isBroken(.fenceHidesRow)) {
            return deliver(world, asker, .forgotten, "the question finds nothing behind the horizon")
        }
        if isBroken(.noTombstone), world.row[0] == .absent {
            return deliver(world, asker, .aborted, "a missing row is taken for an abort")
        }
        if world.decide == .executing || isKeyHeld(world) {
            // An insert waits for the other one, and gives up after its lock timeout.
            let isTakenForNo = isBroken(.busyMeansNo) && world.decide == .executing
            return deliver(world, asker, isTakenForNo ? .aborted : .undecided, "the question has waited too long")
        }
        switch world.row[0] {
        case .absent:
            if isBroken(.verdictBeforeCommit) {
                deliver(changed(world) { $0.limbo = true }, asker, .aborted, "a tombstone is acted upon before it commits")
            } else {
                emit(changed(world) { enter(&$0, asker, .holding) }, "a question inserts a tombstone")
            }
        case .work, .tombstone:
            let verdict: Verdict = world.row[0] == .work ? .committed : .aborted
            if world.isRowVolatile && !isBroken(.noBarrier) {
                emit(changed(world) { enter(&$0, asker, .barrier) }, "a question finds a row")
            } else {
                // The barrier has nothing to make durable, so it is no step of its own.
                deliver(world, asker, verdict, "a question reads the row")
            }
        }
    }
}

// MARK: - Recovery

extension Environment {
    private func recoverer(_ world: World, _ asker: Asker) -> Recoverer { asker == .first ? world.first : world.second }

    private func setRecoverer(_ world: inout World, _ asker: Asker, _ change: (inout Recoverer) -> Void) {
        if asker == .first { change(&world.first) } else { change(&world.second) }
    }

    private func recover(_ world: inout World, _ asker: Asker, _ event: RecoveryMachine.Event) {
        let step = machines.step(recoverer(world, asker).machine, event)
        setRecoverer(&world, asker) { $0.machine = step.machine }
        for action in step.actions {
            switch action {
            case .peek: setRecoverer(&world, asker) { $0.task = .peeking }
            case .askRegister: setRecoverer(&world, asker) { $0.task = .asking }
            case .commitPrepared: setRecoverer(&world, asker) { $0.task = .committing }
            case .rollbackPrepared: setRecoverer(&world, asker) { $0.task = .rollingBack }
            case .readRow: setRecoverer(&world, asker) { $0.task = .checking }
            case .settle(let settlement):
                if settlement == .lost || settlement == .mixed { world.isReported = true }
                setRecoverer(&world, asker) { $0 = .idle }
            }
        }
    }

    private func target(_ world: World, _ asker: Asker) -> Int {
        machines.target(of: recoverer(world, asker).machine)
    }

    private func recovererSteps(_ world: World, _ asker: Asker) {
        let task = recoverer(world, asker).task
        switch task {
        case .idle: return listSteps(world, asker)
        case .peeking:
            emit(changed(world) { recover(&$0, asker, .peeked(readRow(world, 0))) }, "a recoverer looks at the commit point's row")
        case .asking, .holding, .barrier: questionSteps(world, asker)
        case .committing, .rollingBack: recoveryFinishes(world, asker, commits: task == .committing)
        case .checking:
            let member = target(world, asker)
            emit(changed(world) { recover(&$0, asker, .row(readRow(world, member))) }, "a recoverer reads the row of", member)
        }
        emit(changed(world) { setRecoverer(&$0, asker) { $0 = .idle } }, "a recoverer dies")
    }

    /// The list is a step of its own: by the time of the question the branch may be finished, and the transaction forgotten.
    private func listSteps(_ world: World, _ asker: Asker) {
        for member in 1...2 where world.branch[member].isListed {
            begin(world, asker, member, isPastGrace: true)
            if configuration.mayBeYoung { begin(world, asker, member, isPastGrace: false) }
        }
    }

    private func begin(_ world: World, _ asker: Asker, _ member: Int, isPastGrace: Bool) {
        let machine = machines.recovery(of: member, isPastGrace: isPastGrace)
        emit(
            changed(world) {
                setRecoverer(&$0, asker) { $0.machine = machine }
                recover(&$0, asker, .begin)
            }, isPastGrace ? "a recoverer lists the gid of" : "a recoverer lists the young gid of", member)
    }

    private func recoveryFinishes(_ world: World, _ asker: Asker, commits: Bool) {
        let member = target(world, asker)
        if world.branch[member].isListed {
            let done = changed(world) { finish(&$0, member, commits: commits) }
            emit(changed(done) { recover(&$0, asker, .finished(.done)) }, "a recoverer finishes the branch of", member)
            if mayBeBusy(world, member) {
                emit(changed(world) { recover(&$0, asker, .finished(.busy)) }, "a recoverer finds the branch busy at", member)
            }
        } else {
            emit(changed(world) { recover(&$0, asker, .finished(.missing)) }, "a recoverer finds no gid at", member)
        }
    }
}

// MARK: - The horizon

extension Environment {
    /// R17: raise it on every node, wait on each for what was open then, list on all nodes, then remove rows.
    ///
    /// The two members take each of these steps together, which keeps the search small: what one member's horizon does concerns only that
    /// member's own branch.
    private func horizonSteps(_ world: World) {
        horizonSteps(world, [0])
        horizonSteps(world, [1, 2])
    }

    private func horizonSteps(_ world: World, _ nodes: [Int]) {
        func move(to horizon: HorizonState, _ text: StaticString) {
            emit(changed(world) { for node in nodes { $0.horizon[node] = horizon } }, text, nodes[0])
        }
        switch world.horizon[nodes[0]] {
        case .below:
            if !configuration.forgetsLate || !world.isCoordinatorAlive { move(to: .raised, "the horizon is raised at") }
        case .raised:
            if !nodes.contains(where: { isAnythingOpen(world, $0) }) || isBroken(.forgetEarly) {
                move(to: .cleared, "nothing older than the horizon is open at")
            }
        case .cleared:
            removal(world, nodes)
        }
    }

    private func isAnythingOpen(_ world: World, _ node: Int) -> Bool {
        guard world.branch[node] != .open, world.branch[node] != .ended else { return true }
        return node == 0 && (world.decide == .executing || isKeyHeld(world))
    }

    private func removal(_ world: World, _ nodes: [Int]) {
        // With failovers the pass compares the rows of all nodes and removes them in one step, so that no accident comes in between.
        let nodes = configuration.hasFailover ? [0, 1, 2] : nodes
        guard nodes.contains(where: { world.row[$0] != .absent }) else { return }
        let isEverywhereCleared = world.horizon[0] == .cleared && world.horizon[1] == .cleared
        guard isEverywhereCleared && !world.isAnyListed || isBroken(.forgetEarly) else { return }
        emit(
            changed(world) {
                if isAlarming($0) { $0.isReported = true }
                for node in nodes { $0.row[node] = .absent }
            }, "rows are removed at", nodes[0])
    }

    /// A15: whether the clean-up pass finds a contradiction before it removes rows.
    private func isAlarming(_ world: World) -> Bool {
        guard configuration.hasFailover, !isBroken(.noAudit) else { return false }
        return world.isDecisionMissing || world.isMemberMissing && !isBroken(.oneSidedAudit)
    }
}

// MARK: - Accidents

extension Environment {
    private func accidentSteps(_ world: World) {
        if configuration.crashes {
            for node in 0..<3 {
                let crashed = changed(world) { stop(&$0, node) }
                emit(crashed, "a crash, nothing lost, at", node)
                if node == 0 && world.isRowVolatile {
                    emit(
                        changed(crashed) {
                            $0.row[0] = .absent; $0.isRowVolatile = false
                        }, "a crash, the unflushed row lost, at", 0)
                }
            }
        }
        if configuration.isSynchronous {
            emit(
                changed(world) {
                    stop(&$0, 0)
                    guard $0.isRowVolatile else { return }
                    // The standby has neither the row nor the work that came with it.
                    if $0.row[0] == .work { $0.branch[0] = .aborted }
                    $0.row[0] = .absent
                    $0.isRowVolatile = false
                }, "the standby takes over at", 0)
        }
        if configuration.membersGoBack {
            for member in 1...2 { goBack(world, member) }
        }
        if configuration.pointGoesBack && !isForgotten(world) {
            emit(
                changed(world) {
                    stop(&$0, 0)
                    if $0.branch[0] == .committed { $0.branch[0] = .lost }
                    $0.row[0] = .absent
                }, "an older copy takes over at", 0)
        }
    }

    /// All evidence is removed: what a still older copy has lost can no longer be found by anybody, so accidents stop short of that.
    private func isForgotten(_ world: World) -> Bool {
        world.horizon[0] == .cleared && world.horizon[1] == .cleared && world.row[0] == .absent && world.row[1] == .absent
            && world.row[2] == .absent
    }

    /// A server ends at once: what was not committed or prepared is gone. Messages that have not arrived may still do so.
    private func stop(_ world: inout World, _ node: Int) {
        world.accidentsLeft -= 1
        if world.branch[node] == .open || world.branch[node] == .ended { world.branch[node] = .aborted }
        guard node == 0 else { return }
        world.rollsBackPoint = false
        world.limbo = false
        if world.decide == .executing { world.decide = .none }
        if world.ask == .holding || world.ask == .barrier { world.ask = .none }
        if world.first.task == .holding || world.first.task == .barrier { world.first = .idle }
        if world.second.task == .holding || world.second.task == .barrier { world.second = .idle }
    }

    private func goBack(_ world: World, _ member: Int) {
        func replace(_ branch: BranchState, _ text: StaticString) {
            emit(
                changed(world) {
                    $0.accidentsLeft -= 1
                    $0.branch[member] = branch
                    $0.row[member] = .absent
                }, text, member)
        }
        switch world.branch[member] {
        case .prepared: replace(.lost, "an older copy without the branch takes over at")
        case .committed:
            replace(.prepared, "an older copy with the branch prepared takes over at")
            if !isForgotten(world) { replace(.lost, "an older copy without the branch takes over at") }
        case .aborted: replace(.prepared, "an older copy with the branch prepared takes over at")
        case .none, .open, .ended, .hollow, .lost: break
        }
    }
}
