import Logging
import TandemCluster
import TandemCore
import TandemFailpoints
import TandemPostgres

/// The commit of one global transaction: does what ``TandemCore/CommitMachine`` decides, and tells it what came of it.
struct Commit {
    /// How long after the deadline a decision that was sent may still be asked for: nobody should be told "in doubt" for a hiccup.
    private static let patience = Duration.seconds(3)
    private static let backoff = Backoff(base: .milliseconds(20), cap: .milliseconds(500))

    private let cluster: Cluster
    private let runtime: TransactionRuntime
    private let lane: Lane
    private let transaction: TransactionID
    private let options: TransactionOptions
    private let deadline: ContinuousClock.Instant
    /// Checks the results of statements that travelled with the vote or the decision, and returns what is wrong with them.
    private let examine: @Sendable (BranchSession, [ResultSet]) -> TandemError?
    /// What has to be run and looked at on the commit point before the decision is sent; an error refuses the decision.
    var beforeDecision: (@Sendable () async throws -> Void)?

    private var machine: CommitMachine
    /// The branches. A transaction has few of them: looking through a list costs less than a table would.
    private var seats: [Seat] = []
    private let commitPoint: NodeID
    private let members: [NodeID]
    private var cause: TandemError?
    private var isCancelled = false
    private var questions = 0
    private var isCommitted = false
    /// Whether phase two was handed over to whoever reads the answers later.
    private var isDetached = false

    private struct Seat {
        let node: NodeID
        let session: BranchSession
        /// The name under which it is prepared; none for the commit point and for branches that only read.
        let gid: GID?
        var hasPermit = false
    }

    init(
        cluster: Cluster, runtime: TransactionRuntime, lane: Lane, transaction: TransactionID, options: TransactionOptions, deadline: ContinuousClock.Instant,
        writers: [BranchSession], readers: [BranchSession], commitPoint: BranchSession,
        examine: @escaping @Sendable (BranchSession, [ResultSet]) -> TandemError?
    ) throws {
        self.cluster = cluster
        self.runtime = runtime
        self.lane = lane
        self.transaction = transaction
        self.options = options
        self.deadline = deadline
        self.examine = examine
        let commitPointID = try commitPoint.id()
        self.commitPoint = commitPointID
        var members: [NodeID] = []
        for session in writers {
            let node = try session.id()
            members.append(node)
            let gid = GID(cluster: cluster.configuration.name, transaction: transaction, node: node, commitPoint: commitPointID)
            seats.append(Seat(node: node, session: session, gid: node == commitPointID ? nil : gid))
        }
        self.members = members
        var readerIDs: [NodeID] = []
        for session in readers {
            let node = try session.id()
            readerIDs.append(node)
            seats.append(Seat(node: node, session: session, gid: nil))
        }
        let isSerializable = options.isolation == .serializable
        machine = CommitMachine(
            writers: members, commitPoint: commitPointID, readers: isSerializable ? [] : readerIDs, serializableReaders: isSerializable ? readerIDs : [])
    }

    private func branch(at node: NodeID) -> BranchSession? { seats.first { $0.node == node }?.session }
    private func gid(at node: NodeID) -> GID? { seats.first { $0.node == node }?.gid }

    /// Commits, or throws why the transaction is rolled back or in doubt.
    ///
    /// - Returns: the nodes that have not confirmed yet.
    mutating func run() async throws -> [NodeName] {
        defer { for node in members { givePermit(node) } }
        guard await takePermits() else {
            cause = TandemError(
                .preparedSlotsExhausted, "no slot for a prepared transaction became free in time", effect: .rolledBack, isRetrySafe: true,
                nextStep: "raise max_prepared_transactions or send less at a time", phase: "prepare")
            await act(machine.on(.giveUp))
            throw rolledBack()
        }
        await act(machine.on(.begin))
        if machine.outcome == .rolledBack { await explain() }
        return try conclusion()
    }

    /// Looks in the register for what an error on the row means: nothing hangs on the answer but the words.
    private mutating func explain() async {
        guard let wrong = cause, let name = wrong.node, let seat = seats.first(where: { $0.session.name == name }),
            wrong.sqlState == .uniqueViolation && wrong.code == .duplicateTransaction || wrong.sqlState == .notNullViolation && wrong.code == .transactionEnded
        else { return }
        let question = Batch([Register.read(transaction, node: seat.node)])
        guard let reply = try? await cluster.runControlToTheEnd(name, question, within: Self.patience) else { return }
        switch Register.row(from: reply.only) {
        case .tombstone:
            cause = TandemError(
                .transactionEnded, "recovery has rolled the transaction back meanwhile", effect: .rolledBack, isRetrySafe: options.id == nil, node: name,
                sqlState: wrong.sqlState, nextStep: "run it again; where its coordinator was not stopped, raise recovery's grace time", phase: wrong.phase)
        case .forgotten:
            cause = TandemError(
                .transactionForgotten, "the id is older than what the register keeps: what became of an earlier use of it, nobody can say", effect: .rolledBack,
                node: name, sqlState: wrong.sqlState, nextStep: "give the transaction a new id", phase: wrong.phase)
        case .work, .absent, .unreachable: break
        }
    }

    private func conclusion() throws -> [NodeName] {
        switch machine.outcome {
        case .committed?:
            let pending = machine.pending.compactMap { branch(at: $0)?.name }
            if !pending.isEmpty && !isDetached { runtime.leftPending(transaction, pending, cluster) }
            return pending
        case .rolledBack?:
            throw rolledBack()
        case .inDoubt?, nil:
            runtime.leftPending(transaction, members.compactMap { branch(at: $0)?.name }, cluster)
            throw TandemError(
                .inDoubt, "the decision was sent and its answer was lost: the transaction is committed or rolled back, and nobody here knows which",
                effect: .inDoubt(transaction), node: branch(at: commitPoint)?.name,
                nextStep: "ask later: `tandem tx show \(transaction)`, and do not send it again",
                phase: "decision", cause: cause)
        }
    }

    private func rolledBack() -> any Error {
        if isCancelled { return CancellationError() }
        return cause
            ?? TandemError(
                .deadlineExceeded, "the transaction was rolled back", effect: .rolledBack, isRetrySafe: true, nextStep: "allow more time, or run it again",
                phase: "vote")
    }

    private mutating func takePermits() async -> Bool {
        let voters = seats.indices.filter { seats[$0].gid != nil }
        if voters.isEmpty { return true }
        let identities = voters.compactMap { seats[$0].session.identity }
        await readSlots(of: voters)
        let isGranted = await runtime.permits.take(
            identities, reserve: cluster.configuration.preparedReserve, deadline: deadline, reactor: lane.reactor)
        if isGranted { for index in voters { seats[index].hasPermit = true } }
        return isGranted
    }

    /// Asks the servers whose answer is a second old. One that does not answer keeps its share: it will hardly vote either.
    private func readSlots(of voters: [Int]) async {
        for index in voters {
            let session = seats[index].session
            guard let identity = session.identity, let before = runtime.permits.mustRead(identity) else { continue }
            let reply = try? await cluster.runControl(session.name, Batch([Presence.slots]), within: .seconds(1))
            guard let slots = reply.flatMap({ PreparedSlots($0.only) }) else { continue }
            runtime.permits.note(slots, of: identity, before: before, reserve: cluster.configuration.preparedReserve)
        }
    }

    /// Whether there is a permit that the caller has to give back from now on.
    private mutating func takeOverPermit(_ node: NodeID) -> Bool {
        guard let index = seats.firstIndex(where: { $0.node == node && $0.hasPermit }) else { return false }
        seats[index].hasPermit = false
        return true
    }

    private mutating func givePermit(_ node: NodeID) {
        guard let index = seats.firstIndex(where: { $0.node == node && $0.hasPermit }), let identity = seats[index].session.identity else { return }
        seats[index].hasPermit = false
        runtime.permits.release(identity)
    }

    // MARK: Acting

    /// A batch on its way to one node, and what its answer means.
    private struct Call {
        enum Meaning { case vote, decision, commitPrepared, rollbackPrepared, reader, silent }
        let node: NodeID
        let meaning: Meaning
        let connection: Connection
        let batch: Batch
        let opening: Int
        let deferred: Int
    }

    private mutating func act(_ first: [CommitMachine.Action]) async {
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
                case .commitPrepared(let node): if !finish(node, .commitPrepared, &calls) { questions.append(action) }
                case .rollbackPrepared(let node): if !finish(node, .rollbackPrepared, &calls) { questions.append(action) }
                case .rollback(let node): add(.silent, node, Batch([Register.rollback], interruption: .abandon), to: &calls) {}
                case .endReader(let node):
                    add(.silent, node, Batch([isCommitted ? Register.commit : Register.rollback], interruption: .abandon), to: &calls) {}
                case .askRegister, .readRow: questions.append(action)
                case .conclude(let conclusion): conclude(conclusion)
                }
            }
            if Failpoints.isArmed { await passBefore(calls) }
            if isCommitted && options.acknowledgement == .decided && calls.allSatisfy({ $0.meaning == .commitPrepared || $0.meaning == .silent }) {
                detach(calls)
                return
            }
            let flight = Connection.launch(calls.map { ($0.connection, $0.batch) }, on: lane.reactor, deadline: limit(of: calls))
            if Failpoints.isArmed { await passSent(calls) }
            let answers = await landing(of: flight, calls)
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

    /// The answers to what was sent.
    ///
    /// A cancelled caller does not wait for user statements that travel with a vote or the decision, which may stand behind somebody's lock.
    ///
    /// A vote is cancelled at the server: whatever becomes of it, the transaction ends rolled back, since the decision will not be sent. An error is
    /// a "no"; without an answer its connection is closed, and a branch that prepared itself all the same is recovery's (R15). A decision is never
    /// cancelled (A3): its connection is closed and the register is asked, where the tombstone wins unless the COMMIT has begun.
    private func landing(of flight: Connection.Flight, _ calls: [Call]) async -> [Result<BatchReply, ConnectionFailure>] {
        let open = calls.filter { $0.deferred > 0 }
        if open.isEmpty { return await flight.answers() }
        let reactor = lane.reactor
        let voters = open.filter { $0.meaning == .vote }.map(\.connection), others = open.filter { $0.meaning != .vote }.map(\.connection)
        return await withTaskCancellationHandler {
            await flight.answers()
        } onCancel: {
            reactor.execute {
                voters.forEach { $0.cancelIfRunning() }
                others.forEach { $0.closeIfRunning() }
                reactor.schedule(at: .now + Self.patience) { voters.forEach { $0.closeIfRunning() } }
            }
        }
    }

    /// Votes end at the transaction's deadline. What comes after the decision gets some time even when none is left: its answers are wanted.
    private func limit(of calls: [Call]) -> ContinuousClock.Instant {
        calls.contains { $0.meaning == .vote } ? deadline : max(deadline, .now + Self.patience)
    }

    private mutating func add(_ meaning: Call.Meaning, _ node: NodeID, _ batch: Batch, to calls: inout [Call], otherwise: () -> Void) {
        guard let session = branch(at: node), let connection = session.connection, !connection.isClosed else { return otherwise() }
        calls.append(Call(node: node, meaning: meaning, connection: connection, batch: batch, opening: 0, deferred: 0))
    }

    private mutating func conclude(_ conclusion: CommitMachine.Conclusion) {
        switch conclusion {
        case .committed: isCommitted = true
        case .rolledBack, .inDoubt, .applied: break
        case .lost(let node), .mixed(let node):
            // R16: never silent. The caller's transaction is committed; that a branch of it is gone is for whoever looks after the nodes.
            cluster.configuration.logger.critical(
                "a committed transaction has lost a branch",
                metadata: [
                    "tandem.transaction": "\(transaction)", "tandem.node": "\(branch(at: node)?.name.rawValue ?? node.description)",
                    "tandem.kind": "\(conclusion)",
                ])
        }
    }

    // MARK: Votes and the decision

    private mutating func prepare(_ node: NodeID, _ calls: inout [Call], _ events: inout [CommitMachine.Event]) async {
        guard let session = branch(at: node), let gid = gid(at: node) else { return }
        guard await add(node, session, closing: Register.prepare(gid), .vote, &calls) else {
            note(TandemError(.connectionLost, "the branch's connection was lost before its vote", effect: .rolledBack, isRetrySafe: true, node: session.name))
            givePermit(node)
            return events.append(.vote(node, .no))
        }
    }

    private mutating func decide(_ node: NodeID, _ calls: inout [Call], _ events: inout [CommitMachine.Event]) async {
        guard let session = branch(at: node) else { return }
        do {
            try await beforeDecision?()
        } catch {
            if let error = error as? TandemError { note(error) } else { isCancelled = true }
            await rollBackOpen(session)
            return events.append(.decision(.refused))
        }
        await Failpoints.pass(.beforeDecision)
        // A13: a decision counts only on the timeline on which the branch began; a server that was left behind by a failover decides nothing.
        let identity = session.identity
        let isLeftBehind = (identity?.timeline ?? 0) < session.node.highestTimeline
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
    private func rollBackOpen(_ session: BranchSession) async {
        guard let connection = session.connection, !connection.isClosed else { return }
        _ = await Connection.gather([(connection, Batch([Register.rollback], interruption: .abandon))], on: lane.reactor, deadline: .now + Self.patience)
    }

    /// The message that carries what was deferred, the row, and PREPARE or COMMIT (A7, B3).
    private mutating func add(
        _ node: NodeID, _ session: BranchSession, closing: Statement, _ meaning: Call.Meaning, _ calls: inout [Call]
    ) async -> Bool {
        let connection: Connection, row: RowStatement
        do {
            // Here a branch that is one message leases its connection. It waits for none: an admitted transaction has its places.
            connection = try await session.open()
            row = try runtime.row(of: node, cluster)
        } catch {
            if let error = error as? TandemError { note(error) } else { isCancelled = true }
            return false
        }
        if connection.isClosed { return false }
        let (deferred, isFirst, isMarked) = session.takeDeferred(on: connection)
        let opening = isFirst ? session.opening(isMarked: isMarked) : []
        var statements = opening + deferred
        if session.mayDefer { statements.append(Register.immediateConstraints) }
        if let role = session.node.quotedRole { statements.append(Statement("SET LOCAL ROLE \(role)")) }
        statements.append(row.insert(transaction, members: members, isMarked: isMarked))
        statements.append(closing)
        calls.append(
            Call(
                node: node, meaning: meaning, connection: connection, batch: Batch(statements, interruption: .abandon), opening: opening.count,
                deferred: deferred.count))
        return true
    }

    /// COMMIT PREPARED or ROLLBACK PREPARED on any connection of the lane to the node: a prepared branch belongs to no session.
    private func finish(_ node: NodeID, _ meaning: Call.Meaning, _ calls: inout [Call]) -> Bool {
        guard let message = finishing(node, meaning == .commitPrepared), let connection = branch(at: node)?.reopen() else { return false }
        let batch = Batch(segments: message.segments, interruption: .abandon)
        calls.append(Call(node: node, meaning: meaning, connection: connection, batch: batch, opening: 0, deferred: 0))
        return true
    }

    private func finishing(_ node: NodeID, _ isCommit: Bool) -> FinishingMessage? {
        guard let session = branch(at: node), let gid = gid(at: node) else { return nil }
        return session.node.finishing([[isCommit ? Register.commitPrepared(gid) : Register.rollbackPrepared(gid)]])
    }

    // MARK: Answers

    private mutating func note(_ error: TandemError) {
        if cause == nil { cause = error }
    }

    private mutating func judge(_ call: Call, _ answer: Result<BatchReply, ConnectionFailure>) -> CommitMachine.Event? {
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

    private mutating func judgeVote(_ call: Call, _ answer: Result<BatchReply, ConnectionFailure>) -> Vote {
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

    private mutating func judgeDecision(_ call: Call, _ answer: Result<BatchReply, ConnectionFailure>) -> Decision {
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
    private mutating func refusal(_ call: Call, _ reply: SegmentReply, _ session: BranchSession, phase: String) -> Bool? {
        guard let error = reply.error else { return nil }
        let isUserStatement = reply.results.count >= call.opening && reply.results.count < call.opening + call.deferred
        note(
            isUserStatement || error.isFatal
                ? TandemError(error, node: session.name, effect: .rolledBack, phase: isUserStatement ? "statement" : phase)
                : VoteFailure.error(error, node: session.name, phase: phase, gid: gid(at: call.node)))
        return !error.isFatal
    }

    private func ended(_ session: BranchSession, _ phase: String) -> TandemError {
        TandemError(
            .transactionEnded, "the server rolled the branch back instead", effect: .rolledBack, isRetrySafe: false, node: session.name,
            nextStep: "look for a statement whose error was swallowed", phase: phase)
    }

    /// Looks at the results of the statements that travelled with a vote or the decision.
    private mutating func check(_ call: Call, _ reply: SegmentReply, _ session: BranchSession) {
        guard call.deferred > 0 else { return }
        let results = Array(reply.results.dropFirst(call.opening).prefix(call.deferred))
        if let wrong = examine(session, results) { note(wrong) }
    }

    private static func finish(from answer: Result<BatchReply, ConnectionFailure>) -> Finish {
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

    // MARK: Questions

    private mutating func ask(_ action: CommitMachine.Action) async -> CommitMachine.Event {
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
            let batch = Batch(Register.verdict(transaction, node: node, coordinator: cluster.coordinator), interruption: .abandon)
            guard let reply = try? await cluster.runControlToTheEnd(session.name, batch, within: Self.patience) else { return .verdict(.undecided) }
            let verdict = Register.verdict(from: reply.only)
            if verdict == .aborted {
                cause = cause?.with(effect: .rolledBack, isRetrySafe: true)
                isCancelled = Task.isCancelled
            }
            return .verdict(verdict)
        case .commitPrepared(let node), .rollbackPrepared(let node):
            // The branch's own connection is gone. The node may well be there: one attempt on the connection that looks after transactions.
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
    private func pause(_ time: Duration) async {
        let reactor = lane.reactor
        await withCheckedContinuation { continuation in
            reactor.execute { reactor.schedule(at: .now + time) { continuation.resume() } }
        }
    }

    private static let mostQuestions = 200
    private var questionsEnd: ContinuousClock.Instant { deadline + Self.patience }

    // MARK: Failpoints and phase two in the background

    private func passBefore(_ calls: [Call]) async {
        for call in calls {
            switch call.meaning {
            case .vote: await Failpoints.pass(.beforePrepare)
            case .commitPrepared: await Failpoints.pass(.beforeCommitPrepared)
            case .rollbackPrepared: await Failpoints.pass(.beforeRollbackPrepared)
            case .decision, .reader, .silent: break
            }
        }
    }

    private func passSent(_ calls: [Call]) async {
        for call in calls {
            switch call.meaning {
            case .vote: await Failpoints.pass(.afterPrepareSent)
            case .decision: await Failpoints.pass(.afterDecisionSent)
            case .commitPrepared: await Failpoints.pass(.afterCommitPreparedSent)
            case .rollbackPrepared, .reader, .silent: break
            }
        }
    }

    private func passAfter(_ calls: [Call]) async {
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

    /// R11, C1: COMMIT PREPARED is sent at once and its answer read with the connection's next use; the caller does not wait for it.
    private mutating func detach(_ calls: [Call]) {
        isDetached = true
        let permits = runtime.permits, runtime = runtime, cluster = cluster, transaction = transaction
        for call in calls {
            guard let session = branch(at: call.node), let identity = session.identity else { continue }
            let isPermitted = takeOverPermit(call.node)
            let name = session.name
            let isCommitPrepared = call.meaning == .commitPrepared
            let connection = call.connection, batch = call.batch, limit = ContinuousClock.now + .seconds(30)
            lane.reactor.execute {
                connection.submit(batch, deadline: limit) { answer in
                    if isPermitted { permits.release(identity) }
                    guard isCommitPrepared, Self.finish(from: answer) != .done else { return }
                    runtime.leftPending(transaction, [name], cluster)
                }
            }
        }
    }
}

extension Failpoints {
    /// A point of the protocol where an armed error means nothing: only what ends or holds the process acts here.
    static func pass(_ point: Failpoint) async {
        try? await reach(point)
    }
}
