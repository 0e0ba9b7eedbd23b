import TandemCluster
import TandemCore
public import TandemPostgres

/// A statement that is a transaction of its own.
extension Node {
    /// How long a cancelled caller waits for the server's word on what became of its statement.
    private static let grace = Duration.seconds(3)

    /// Runs a statement on a connection of its own.
    ///
    /// - Returns: its result.
    @concurrent
    @usableFromInline
    func run(_ sql: SQL, _ timeout: Duration) async throws -> ResultSet? {
        let node = try cluster.node(name)
        let statement = try Statement(sql)
        try node.refuseSessionChange(in: statement.text)
        if let control = TransactionControl(of: statement.text) {
            throw TandemError(
                .statementRefused, "\(control.rawValue) would leave a transaction behind on a connection that others use", node: name,
                nextStep: "use transaction { }")
        }
        guard leadingKeyword(of: statement.text) != "COPY" else {
            throw TandemError(
                .statementRefused, "COPY is no ordinary statement", node: name, nextStep: "use copyIn or copyOut, or a transaction for a file of the server")
        }
        let deadline = ContinuousClock.now + timeout
        let lane = cluster.pickLane()
        return try await withTaskExecutorPreference(lane.reactor) {
            try await lane.admission.enter([node.name], deadline: deadline)
            defer { lane.reactor.execute { lane.admission.leave([node.name]) } }
            let session = BranchSession(
                cluster, node: node, transaction: .fresh(isRecorded: false), lane: lane, options: TransactionOptions(), deadline: deadline)
            defer { lane.reactor.execute { session.giveBack() } }
            return try await run(statement, on: session, lane.reactor, deadline)
        }
    }

    private func run(_ statement: Statement, on session: BranchSession, _ reactor: Reactor, _ deadline: ContinuousClock.Instant) async throws -> ResultSet? {
        let connection: Connection
        do {
            connection = try await session.open()
        } catch let error as TandemError {
            throw error.with(effect: TandemError.Effect.none)
        }
        session.noteTraces(of: [statement], on: connection)
        var batch = Batch(segments: message(of: statement, session.node, connection))
        batch.isBounded = true
        let flight = Connection.launch([(connection, batch)], on: reactor, deadline: deadline)
        let answer = await withTaskCancellationHandler {
            await flight.answers()[0]
        } onCancel: {
            // The server is asked to stop and its answer awaited: a statement whose connection is only closed may have committed all the same.
            reactor.execute {
                flight.cancel([0])
                reactor.schedule(at: .now + Self.grace) { flight.close([0]) }
            }
        }
        return try judge(answer, session.transaction, statement)
    }

    /// What is sent: the statement, and before it what makes its commit durable.
    private func message(of statement: Statement, _ node: NodeRuntime, _ connection: Connection) -> [[Statement]] {
        // An earlier owner's function may have left the session otherwise.
        guard let settings = node.settings("tandem", on: connection) else { return [[Register.durableSession], [statement]] }
        // In a session of a pooler they hold for the transaction, which is the segment.
        return statement.standsAlone ? [[statement]] : [settings + [statement]]
    }

    private func judge(_ answer: Result<BatchReply, ConnectionFailure>, _ id: TransactionID, _ statement: Statement) throws -> ResultSet? {
        switch answer {
        case .success(let reply):
            if let error = reply.only.error {
                if error.isFatal { throw lost(id, cause: TandemError(error, node: name, phase: "statement")) }
                // What commits in steps may have done some of them.
                guard statement.isAtomic else { throw TandemError(error, node: name, effect: .inDoubt(id), phase: "statement") }
                if error.sqlState == .queryCanceled && Task.isCancelled { throw CancellationError() }
                throw TandemError(error, node: name, effect: .rolledBack, phase: "statement")
            }
            // R5: a standby may not have what the node has committed.
            if reply.only.isReplicationUnconfirmed { throw lost(id, cause: nil) }
            return reply.only.results.last
        case .failure(let failure):
            let error = TandemError(failure, node: name, phase: "statement")
            if failure.kind == .tooLarge { throw statement.isPlainQuery ? error : error.with(effect: .inDoubt(id)) }
            if failure.wasSent && failure.kind != .refused { throw lost(id, cause: error) }
            throw failure.kind == .cancelled ? CancellationError() : error
        }
    }

    private func lost(_ id: TransactionID, cause: TandemError?) -> TandemError {
        TandemError(
            .inDoubt, "the statement was sent and its answer was lost: it has committed or not, and nobody here knows which", effect: .inDoubt(id), node: name,
            nextStep: "look at the data before you send it again: no row records it", phase: "statement", cause: cause)
    }
}

extension Statement {
    /// Whether it reads, and calls nothing that could do more.
    fileprivate var isPlainQuery: Bool {
        ["SELECT", "VALUES", "TABLE", "SHOW"].contains(leadingKeyword(of: text)) && !text.utf8.contains(UInt8(ascii: "("))
    }

    /// Whether it cannot run, or cannot do all that it does, in a transaction with others.
    fileprivate var standsAlone: Bool {
        if StatementClass(of: text) == .dataOnly { return false }
        if !isAtomic { return true }
        let words = text.uppercased().split { !$0.isLetter }.prefix(2).joined(separator: " ")
        return [
            "CREATE DATABASE", "DROP DATABASE", "ALTER DATABASE", "CREATE TABLESPACE", "DROP TABLESPACE", "ALTER SYSTEM", "CREATE SUBSCRIPTION",
            "ALTER SUBSCRIPTION", "DROP SUBSCRIPTION",
        ].contains(words)
    }

    /// Whether it happens as a whole or not at all. Procedures and blocks of code may commit inside, and what runs CONCURRENTLY or over many tables does.
    fileprivate var isAtomic: Bool {
        if StatementClass(of: text) == .dataOnly { return true }
        return !["CALL", "DO", "VACUUM", "REINDEX", "CLUSTER", "ANALYZE", "ANALYSE"].contains(leadingKeyword(of: text))
            && !text.lowercased().contains("concurrently")
    }
}
