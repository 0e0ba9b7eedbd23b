import TandemCluster
import TandemCore
import TandemPostgres

/// One branch of a global transaction: a session of its node, in a transaction that this process began and alone may end.
final class BranchSession: Sendable {
    struct State {
        var connection: Connection?
        /// Who the node behind the connection is, checked when it was opened.
        var identity: NodeIdentity?
        var hasBegun = false
        /// Whether the branch began with the mark, which its row then has to find.
        var isMarked = false
        /// A statement's tag said that it wrote. When none did, the server is asked before the votes.
        var hasWritten = false
        /// What went wrong first: the branch cannot commit any more.
        var failure: TandemError?
        /// Statements that travel with the next message.
        var deferred: [Statement] = []
        /// Whether all of them only read and write data: see ``StatementClass``.
        var isDeferredPlain = true
        var savepoints = 0
        var turnstile = Turnstile()
    }

    private let cluster: Cluster
    let node: NodeRuntime
    let transaction: TransactionID
    let lane: Lane
    private let options: TransactionOptions
    let deadline: ContinuousClock.Instant
    let state = Locked(State())

    init(_ cluster: Cluster, node: NodeRuntime, transaction: TransactionID, lane: Lane, options: TransactionOptions, deadline: ContinuousClock.Instant) {
        self.cluster = cluster
        self.node = node
        self.transaction = transaction
        self.lane = lane
        self.options = options
        self.deadline = deadline
    }

    var name: NodeName { node.name }
    var connection: Connection? { state.withLock { $0.connection } }
    var identity: NodeIdentity? { state.withLock { $0.identity } ?? node.identity }
    var failure: TandemError? { state.withLock { $0.failure } }

    /// The number of the node behind this branch's connection: checked when it was opened.
    func id() throws -> NodeID {
        guard let identity else {
            throw TandemError(.notInitialised, "the node is not known yet", node: name)
        }
        return identity.id
    }

    /// Whether constraints or triggers may wait for the end of the transaction: they are run before the vote. Known since the connection was opened,
    /// and assumed once user SQL was no plain data statement: it may have made one. One that somebody else made meanwhile runs inside PREPARE or
    /// COMMIT, which is right, too, and only outside the statement's timeout.
    var mayDefer: Bool {
        guard let connection, let identity else { return true }
        return identity.hasDeferrable || connection.isDirty || node.configuration.role != nil
    }

    /// BEGIN, and the mark that proves the transaction (R5a) and shows it in `pg_stat_activity`.
    ///
    /// A branch that is one message, and holds nothing but statements that begin with a word of data, needs no mark: the extended protocol takes one
    /// statement a text, its first word is what it is, and inside a block no function or procedure may end the transaction (2D000). See ADR 0012.
    func opening(isMarked: Bool) -> [Statement] {
        if let connection, let settings = node.settings(Register.mark(transaction), on: connection) {
            return [Register.begin(options.isolation, isReadOnly: options.isReadOnly)] + settings
        }
        // READ COMMITTED READ WRITE is what every session of ours starts with; saying so again would cost the server a setting.
        let isDefault = options.isolation == .readCommitted && !options.isReadOnly
        let begin = isDefault ? Register.begin : Register.begin(options.isolation, isReadOnly: options.isReadOnly)
        return isMarked ? [begin, Register.mark(transaction)] : [begin]
    }

    // MARK: Statements

    /// Runs user statements in one message and returns their results, in order. Each is refused before anything is sent when it would end the
    /// transaction.
    func run(_ statements: [Statement]) async throws -> [ResultSet] {
        for statement in statements { try check(statement) }
        try await enter()
        defer { leaveTurn() }
        return try await send(statements)
    }

    /// Refuses what only Tandem may say, and notes what leaves traces in the session.
    func check(_ statement: Statement) throws {
        try node.refuseSessionChange(in: statement.text)
        guard let control = TransactionControl(of: statement.text) else { return }
        throw TandemError(
            .statementRefused, "\(control.rawValue) would change the transaction that the branch is part of", effect: .none, node: name,
            nextStep: control.nextStep)
    }

    /// Takes the branch's turn. Refused inside the body of a stream of the same branch.
    func enter() async throws {
        guard !isStreaming else {
            throw TandemError(
                .statementRefused, "the rows of another statement of this branch are still being read", node: name,
                nextStep: "read them to the end first, or collect what you need and leave the stream's body")
        }
        await takeTurn()
    }

    func takeTurn() async {
        if state.withLock({ $0.turnstile.enter() }) { return }
        await withCheckedContinuation { continuation in
            if state.withLock({ $0.turnstile.enter(or: continuation) }) { continuation.resume() }
        }
    }

    func leaveTurn() {
        state.withLock { $0.turnstile.leave() }?.resume()
    }

    /// The caller has the turn.
    func send(_ statements: [Statement]) async throws -> [ResultSet] {
        if let failure { throw afterFailure(failure) }
        let connection = try await open()
        let isFirst = state.withLock { state in
            if state.hasBegun { return false }
            (state.hasBegun, state.isMarked) = (true, true)
            return true
        }
        let opening = isFirst ? opening(isMarked: true) : []
        if opening.isEmpty && statements.isEmpty { return [] }
        noteTraces(of: statements, on: connection)
        let reply: SegmentReply
        do {
            reply = try await connection.run(Batch(opening + statements, isBounded: true), deadline: deadline).only
        } catch let failure as ConnectionFailure {
            let error = TandemError(failure, node: name, effect: .rolledBack, phase: "statement")
            fail(error)
            if failure.kind == .cancelled { throw CancellationError() }
            throw error
        }
        if let error = take(reply, after: opening.count) { throw await explain(error) }
        return Array(reply.results.dropFirst(opening.count))
    }

    /// The failure as 40P01 where the statement was cancelled to end a deadlock over several nodes.
    func explain(_ error: TandemError) async -> TandemError {
        guard error.sqlState == .queryCanceled else { return error }
        let explained = await TransactionRuntime.of(cluster).deadlocks.explain(error, transaction, cluster)
        if explained.code == .deadlock { connection?.spend() }
        state.withLock { state in
            if state.failure?.sqlState == .queryCanceled { state.failure = explained }
        }
        return explained
    }

    func noteTraces(of statements: [Statement], on connection: Connection) {
        guard statements.contains(where: { StatementClass(of: $0.text) == .other }) else { return }
        connection.reactor.execute { connection.markDirty() }
    }

    /// Judges the answer to user statements, and returns why the branch cannot go on.
    func take(_ reply: SegmentReply, after opening: Int) -> TandemError? {
        if let error = reply.error {
            let phase = reply.results.count < opening ? "begin" : "statement"
            let failure = TandemError(error, node: name, effect: .rolledBack, phase: phase)
            fail(failure)
            return failure
        }
        for result in reply.results.dropFirst(opening) {
            switch result.tag.prefix(while: { $0 != " " }) {
            case "INSERT", "UPDATE", "DELETE", "MERGE": state.withLock { $0.hasWritten = true }
            case "COMMIT", "ROLLBACK", "BEGIN", "START", "PREPARE": return poison("a statement ended the transaction")
            default: break
            }
        }
        // R5a: an early end that slipped through would commit a branch without its row.
        guard reply.status == .inTransaction else { return poison("a statement ended the transaction") }
        return nil
    }

    /// The session is not in the transaction it began: nothing of it may ever commit, so its connection is closed.
    private func poison(_ what: String) -> TandemError {
        let error = TandemError(
            .protocolViolation, what, effect: .rolledBack, node: name, nextStep: "leave transaction control to Tandem: no COMMIT or ROLLBACK in statements",
            phase: "statement")
        fail(error)
        if let connection { connection.reactor.execute { connection.close() } }
        return error
    }

    func fail(_ error: TandemError) {
        state.withLock { state in
            if state.failure == nil { state.failure = error }
        }
    }

    private func afterFailure(_ failure: TandemError) -> TandemError {
        TandemError(
            failure.code, "an earlier statement of this branch failed: \(failure.message)", effect: .rolledBack, isRetrySafe: failure.isRetrySafe, node: name,
            sqlState: failure.sqlState, nextStep: "let the error end the body; to go on after one use savepoint { }", phase: "statement", cause: failure)
    }

    /// Whether the node is known and a connection to it is idle. On the lane's reactor.
    var isReady: Bool { identity != nil && lane.pools[name]?.isReady ?? false }

    /// The branch's connection, leased when it is first needed. An admitted transaction has a place at each of its nodes.
    func open() async throws -> Connection {
        if let connection { return connection }
        guard let pool = lane.pools[name] else { throw TandemError(.unknownNode, "there is no node \(name)", node: name) }
        do {
            while true {
                let connection = try await pool.lease(deadline: deadline)
                if keep(connection) { return connection }
            }
        } catch let error as TandemError {
            let error = error.with(effect: .rolledBack, phase: "begin")
            fail(error)
            throw error
        }
    }

    /// What travels with the vote or the decision, whether the branch begins with that message, and whether it has the mark.
    func takeDeferred(on connection: Connection) -> (statements: [Statement], isFirst: Bool, isMarked: Bool) {
        let (taken, isPlain) = state.withLock { state in
            let deferred = state.deferred, isFirst = !state.hasBegun
            state.deferred = []
            state.hasBegun = true
            if isFirst { state.isMarked = !state.isDeferredPlain || node.isPooled }
            return ((deferred, isFirst, state.isMarked), state.isDeferredPlain)
        }
        if !isPlain { connection.reactor.execute { connection.markDirty() } }
        return taken
    }

    /// Keeps statements for the message that carries the vote or the decision.
    func hold(_ statements: [Statement]) {
        let isPlain = statements.allSatisfy { StatementClass(of: $0.text) == .dataOnly }
        state.withLock { state in
            state.deferred = statements
            state.isDeferredPlain = isPlain
        }
    }

    /// A connection for what follows the vote, on the lane's reactor: an idle one, if there is any. The branch's own was given back and may be with
    /// somebody else, or being reset.
    func reopen() -> Connection? {
        while let connection = lane.pools[name]?.takeIdle() {
            if keep(connection) { return connection }
        }
        return nil
    }

    /// As ``reopen()``, but waits for a connection, or for a new one, whether or not the task is cancelled.
    func reopen(within limit: Duration) async -> Connection? {
        if let connection = reopen() { return connection }
        return await withCheckedContinuation { continuation in
            lane.reactor.execute { self.whenOpen(within: limit) { continuation.resume(returning: $0) } }
        }
    }

    /// Calls `body` on the lane's reactor with a connection that the branch holds from then on, or with none when the time is over. On the reactor.
    func whenOpen(within limit: Duration, _ body: @escaping (Connection?) -> Void) {
        guard let pool = lane.pools[name] else { return body(nil) }
        pool.lease(deadline: .now + limit) { result in
            guard let connection = try? result.get(), self.keep(connection) else { return body(nil) }
            body(connection)
        }
    }

    /// Keeps a leased connection, unless it leads to a server that a failover has left behind (A13): nothing may be decided or finished there.
    private func keep(_ connection: Connection) -> Bool {
        let identity = connection.attachment as? NodeIdentity
        guard (identity?.timeline ?? 0) >= node.highestTimeline else {
            connection.reactor.execute { connection.close() }
            return false
        }
        connection.belong(to: transaction)
        state.withLock { state in
            state.connection = connection
            state.identity = identity
        }
        return true
    }

    // MARK: Savepoints

    /// Sets a savepoint and returns its name.
    func beginSavepoint() async throws -> String {
        let name = state.withLock { state in
            state.savepoints += 1
            return "tandem_\(state.savepoints)"
        }
        try await enter()
        defer { leaveTurn() }
        _ = try await send([Statement("SAVEPOINT \(name)", isPrepared: false)])
        return name
    }

    func release(savepoint name: String) async throws {
        try await enter()
        defer { leaveTurn() }
        _ = try await send([Statement("RELEASE SAVEPOINT \(name)", isPrepared: false)])
    }

    /// Goes back to the savepoint; a statement's failure since then is undone with it.
    func rollBack(to name: String) async throws {
        try await enter()
        defer { leaveTurn() }
        guard let connection, !connection.isClosed else { return }
        state.withLock { $0.failure = nil }
        let reply: SegmentReply
        do {
            let statements = ["ROLLBACK TO SAVEPOINT \(name)", "RELEASE SAVEPOINT \(name)"].map { Statement($0, isPrepared: false) }
            reply = try await connection.run(Batch(statements), deadline: deadline).only
        } catch let failure as ConnectionFailure {
            let error = TandemError(failure, node: self.name, effect: .rolledBack, phase: "savepoint")
            fail(error)
            throw failure.kind == .cancelled ? CancellationError() : error
        }
        if let error = reply.error {
            let failure = TandemError(error, node: self.name, effect: .rolledBack, phase: "savepoint")
            fail(failure)
            throw failure
        }
        guard reply.status == .inTransaction else { throw poison("the savepoint is gone") }
    }

    // MARK: The end

    /// Gives the connection back; whatever is still open on it makes the pool close it. On the lane's reactor.
    func giveBack() {
        let connection = state.withLock { state in
            defer { state.connection = nil }
            return state.connection
        }
        guard let connection, let pool = lane.pools[name] else { return }
        connection.belong(to: nil)
        pool.release(connection)
    }
}
