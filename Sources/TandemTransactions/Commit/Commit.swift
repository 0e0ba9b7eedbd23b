import Logging
import TandemCluster
import TandemCore
import TandemFailpoints
import TandemPostgres

/// The commit of one global transaction: does what ``TandemCore/CommitMachine`` decides, and tells it what came of it.
struct Commit {
    /// How long after the deadline a decision that was sent may still be asked for: nobody should be told "in doubt" for a hiccup.
    static let patience = Duration.seconds(3)
    /// How long COMMIT PREPARED may take when nobody waits for it.
    static let detachedPatience = Duration.seconds(30)
    static let backoff = Backoff(base: .milliseconds(20), cap: .milliseconds(500))

    let cluster: Cluster
    let runtime: TransactionRuntime
    let lane: Lane
    let transaction: TransactionID
    let options: TransactionOptions
    let deadline: ContinuousClock.Instant
    /// Checks the results of statements that travelled with the vote or the decision, and returns what is wrong with them.
    let examine: @Sendable (BranchSession, [ResultSet]) -> TandemError?
    /// What has to be run and looked at on the commit point before the decision is sent; an error refuses the decision.
    var beforeDecision: (@Sendable () async throws -> Void)?

    var machine: CommitMachine
    /// The branches. A transaction has few of them: looking through a list costs less than a table would.
    var seats: [Seat] = []
    let commitPoint: NodeID
    let members: [NodeID]
    var cause: TandemError?
    var isCancelled = false
    var questions = 0
    var isCommitted = false
    /// Whether phase two was handed over to whoever reads the answers later.
    var isDetached = false

    struct Seat {
        let node: NodeID
        let session: BranchSession
        /// The name under which it is prepared; none for the commit point and for branches that only read.
        let gid: GID?
        /// Where it holds a permit: the node as it was known when the permit was taken.
        var permit: NodeIdentity?
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
            writers: members, commitPoint: commitPointID, readers: isSerializable ? [] : readerIDs, serializableReaders: isSerializable ? readerIDs : [],
            isRecorded: transaction.isRecorded)
    }

    func branch(at node: NodeID) -> BranchSession? { seats.first { $0.node == node }?.session }
    func gid(at node: NodeID) -> GID? { seats.first { $0.node == node }?.gid }

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
        if machine.outcome == .rolledBack {
            await explain()
            if let known = cause {
                cause = await runtime.deadlocks.explain(known, transaction, cluster)
                if cause?.code == .deadlock { seats.first { $0.session.name == known.node }?.session.connection?.spend() }
            }
        }
        return try conclusion()
    }

    /// Looks in the register for what an error on the row means: nothing hangs on the answer but the words.
    mutating func explain() async {
        guard let wrong = cause, let name = wrong.node, let seat = seats.first(where: { $0.session.name == name }),
            wrong.sqlState == .uniqueViolation && wrong.code == .duplicateTransaction || wrong.sqlState == .notNullViolation && wrong.code == .transactionEnded
        else { return }
        let question = Batch([Register.read(transaction, node: seat.node)])
        guard let reply = try? await cluster.runControlToTheEnd(name, question, within: Self.patience) else { return }
        switch Register.row(from: reply.only) {
        case .tombstone:
            let isOwn = options.id != nil
            cause = TandemError(
                isOwn ? .duplicateTransaction : .transactionEnded,
                isOwn ? "recovery has rolled a transaction of this id back for good, now or before" : "recovery has rolled the transaction back meanwhile",
                effect: .rolledBack, isRetrySafe: !isOwn, node: name, sqlState: wrong.sqlState,
                nextStep: isOwn ? "give it a new id" : "run it again; where its coordinator was not stopped, raise recovery's grace time", phase: wrong.phase)
        case .forgotten:
            cause = TandemError(
                .transactionForgotten, "the id is older than what the register keeps: what became of an earlier use of it, nobody can say", effect: .rolledBack,
                node: name, sqlState: wrong.sqlState, nextStep: "give the transaction a new id", phase: wrong.phase)
        case .work, .absent, .unreachable: break
        }
    }

    func conclusion() throws -> [NodeName] {
        switch machine.outcome {
        case .committed?:
            let pending = machine.pending.compactMap { branch(at: $0)?.name }
            if !pending.isEmpty && !isDetached { runtime.leftPending(transaction, pending, cluster) }
            return pending
        case .rolledBack?:
            throw rolledBack()
        case .inDoubt?, nil:
            if transaction.isRecorded { runtime.leftPending(transaction, members.compactMap { branch(at: $0)?.name }, cluster) }
            throw TandemError(
                .inDoubt, "the decision was sent and its answer was lost: the transaction is committed or rolled back, and nobody here knows which",
                effect: .inDoubt(transaction), node: branch(at: commitPoint)?.name,
                nextStep: transaction.isRecorded
                    ? "ask later: `tandem tx show \(transaction)`, and do not send it again" : "look at the data before you send it again: no row records it",
                phase: "decision", cause: cause)
        }
    }

    func rolledBack() -> any Error {
        if isCancelled { return CancellationError() }
        return cause
            ?? TandemError(
                .deadlineExceeded, "the transaction was rolled back", effect: .rolledBack, isRetrySafe: true, nextStep: "allow more time, or run it again",
                phase: "vote")
    }

    mutating func takePermits() async -> Bool {
        let voters = seats.indices.filter { seats[$0].gid != nil }
        if voters.isEmpty { return true }
        let identities = voters.compactMap { seats[$0].session.identity }
        guard identities.count == voters.count else { return false }
        await readSlots(of: voters)
        let isGranted = await runtime.permits.take(
            identities, for: transaction, reserve: cluster.configuration.preparedReserve, deadline: deadline, reactor: lane.reactor)
        if isGranted { for (index, identity) in zip(voters, identities) { seats[index].permit = identity } }
        return isGranted
    }

    /// Asks the servers whose answer is a second old. One that does not answer keeps its share: it will hardly vote either.
    func readSlots(of voters: [Int]) async {
        for index in voters {
            let session = seats[index].session
            guard let identity = session.identity, let before = runtime.permits.mustRead(identity) else { continue }
            let reply = try? await cluster.runControl(session.name, Batch([Presence.slots]), within: min(.seconds(1), max(.milliseconds(1), deadline - .now)))
            guard var slots = reply.flatMap({ PreparedSlots($0.only) }) else { continue }
            // Behind a pooler this process has no session that could show it to the others.
            if session.node.isPooled { slots.coordinators += 1 }
            if slots.hasStandby { session.node.noteStandby() }
            runtime.permits.note(slots, of: identity, before: before, reserve: cluster.configuration.preparedReserve)
        }
    }

    /// Takes a branch's permit away from the commit, to be given back later.
    mutating func takeOverPermit(_ node: NodeID) -> NodeIdentity? {
        guard let index = seats.firstIndex(where: { $0.node == node }) else { return nil }
        defer { seats[index].permit = nil }
        return seats[index].permit
    }

    mutating func givePermit(_ node: NodeID) {
        if let identity = takeOverPermit(node) { runtime.permits.release(identity, of: transaction) }
    }
}
