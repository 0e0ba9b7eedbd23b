package import TandemCore
package import TandemPostgres

/// What a process knows about one node.
package final class NodeRuntime: Sendable {
    private struct State {
        var identity: NodeIdentity?
        var highestTimeline: UInt32 = 0
        /// Whether some connection has seen that the node has synchronous standbys.
        var waitsForStandby = false
        /// The connections that no transaction takes.
        weak var control: Pool?
    }

    package let configuration: NodeConfiguration
    let cluster: ClusterName
    private let presence: Presence
    let connector: Connector
    /// The role that owns prepared transactions, ready to stand in a statement; `nil` where the session's own does.
    package let quotedRole: String?
    /// What its transactions begin with, where sessions belong to a pooler.
    private let pooled: PooledSettings?
    private let state = Locked(State())

    /// A role's name that cannot be quoted is refused: prepared transactions would belong to another role than the one that was asked for.
    init(_ configuration: NodeConfiguration, cluster: ClusterName, presence: Presence) throws {
        self.presence = presence
        self.configuration = configuration
        self.cluster = cluster
        quotedRole = try configuration.role.map { try quoteIdentifier($0) }
        let parameters = configuration.connectionParameters
        switch configuration.pooler {
        case .none:
            pooled = nil
            connector = Connector(parameters, node: configuration.name)
        case .transaction:
            guard configuration.role == nil else {
                throw TandemError(
                    .configurationInvalid, "a role for prepared transactions cannot be used behind a pooler in transaction mode", node: configuration.name,
                    nextStep: "COMMIT PREPARED would need SET ROLE for the session: connect as that role, or to the server itself")
            }
            pooled = try PooledSettings(parameters.settings, node: configuration.name)
            connector = Connector(parameters.behindPooler, node: configuration.name)
        }
    }

    package var name: NodeName { configuration.name }

    /// Names the connections over which statements of others are cancelled. Those themselves are opened before, or cancelled otherwise.
    func setControl(_ pool: Pool) { state.withLock { $0.control = pool } }

    /// Notes that the node has synchronous standbys, which a reload may have given it since its connections were opened.
    package func noteStandby() { state.withLock { $0.waitsForStandby = true } }

    /// Whether its sessions belong to a pooler in transaction mode.
    package var isPooled: Bool { pooled != nil }

    /// What a transaction in a session of a pooler begins with, after BEGIN; nil where sessions are our own.
    ///
    /// - Parameters:
    ///   - application: The application's name, which marks the transaction.
    ///   - connection: The connection, which was checked when it was opened.
    /// - Returns: The guard of the server's identity, and the settings.
    package func settings(_ application: String, on connection: Connection) -> [Statement]? {
        guard let pooled else { return nil }
        return [serverGuard(on: connection), pooled.statement(application)].compactMap(\.self)
    }

    /// What fails where a pooler leads to another server than the node's; nil where sessions are our own.
    func serverGuard(on connection: Connection) -> Statement? {
        guard isPooled, let identity = connection.attachment as? NodeIdentity else { return nil }
        return PooledSettings.guardStatement(identity, timeline: highestTimeline)
    }

    /// Segments that finish prepared branches, with what must hold around them.
    ///
    /// They are said as the role that owns prepared transactions: what it prepared, only it may finish. And where the node waits for a standby, COMMIT
    /// PREPARED runs without the statement's timeout, which would cut that wait short (A3), and with the level and the messages that make it wait and
    /// say if it did not (A2), whatever a function of an earlier owner's left in the session.
    package func finishing(_ segments: [[Statement]]) -> FinishingMessage {
        var before: [Statement] = [], after: [Statement] = []
        // Each segment of a message may run in another session of the pooler; what those are like was checked.
        if isPooled { return FinishingMessage(segments, before: [], after: []) }
        if state.withLock({ $0.waitsForStandby }) {
            before += [
                Statement("SELECT \(Self.durable(isLocal: false))"), Statement("SET client_min_messages = 'notice'"), Statement("SET statement_timeout = 0"),
            ]
            after.append(Statement("RESET statement_timeout"))
        }
        if let quotedRole {
            before.append(Statement("SET ROLE \(quotedRole)"))
            after.append(Statement("RESET ROLE"))
        }
        return FinishingMessage(segments, before: before, after: after)
    }

    /// Who the node said it is on its last new connection; `nil` before the first.
    package var identity: NodeIdentity? { state.withLock { $0.identity } }
    /// The highest timeline on which the node was seen (A13).
    package var highestTimeline: UInt32 { state.withLock { $0.highestTimeline } }

    /// Commits wait for their flush, and for standbys; a level that the server sets higher than `on` stays.
    ///
    /// - Parameter isLocal: whether it holds for the transaction only.
    /// - Returns: one value of a SELECT.
    package static func durable(isLocal: Bool) -> String {
        """
        pg_catalog.set_config('synchronous_commit',
            CASE pg_catalog.current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, \(isLocal))
        """
    }

    /// What a session starts with, beyond its start-up options.
    private var setUp: Statement {
        Statement("SELECT \(Self.durable(isLocal: false)), \(presence.expression)", isPrepared: false)
    }

    /// What gives a session its first state back after user SQL that may have changed it. DISCARD ALL stands alone: it cannot run in a block.
    ///
    /// Nothing where the session belongs to a pooler: what would change it is refused there.
    var reset: Batch? { isPooled ? nil : Batch(segments: [[Statement("DISCARD ALL", isPrepared: false)], [setUp]]) }

    /// Checks a new connection: the session's settings, then the node's identity (R3).
    func prepare(_ connection: Connection, _ done: @escaping (Result<Void, TandemError>) -> Void) {
        let batch = Batch(segments: [[isPooled ? PooledSettings.question : setUp], [NodeIdentity.statement]])
        connection.submit(batch, deadline: .now + configuration.connectTimeout) { [self] outcome in
            switch outcome {
            case .failure(let failure): done(.failure(TandemError(failure, node: name)))
            case .success(let reply):
                if let defect = pooled?.defect(reply.segments[0]) { return done(.failure(defect)) }
                done(adopt(reply, connection))
            }
        }
    }

    /// Notes on which timeline the node was seen.
    ///
    /// - Returns: the highest one so far.
    @discardableResult
    package func note(timeline: UInt32) -> UInt32 {
        state.withLock { state in
            state.highestTimeline = max(state.highestTimeline, timeline)
            return state.highestTimeline
        }
    }

    private func adopt(_ reply: BatchReply, _ connection: Connection) -> Result<Void, TandemError> {
        if let error = reply.only.error {
            // The schema or its table is not there (3F000, 42P01), or not ours to read.
            if error.sqlState == .undefinedTable || error.sqlState == .invalidSchemaName { return .failure(notInitialised) }
            // The first version of the schema did not say whom it serves.
            if error.sqlState == .undefinedColumn, let old = CoreSchema.mismatch(version: 1, leastProgram: 1, node: name) { return .failure(old) }
            return .failure(TandemError(error, node: name))
        }
        guard let result = reply.only.results.last, let identity = NodeIdentity(result) else { return .failure(notInitialised) }
        if identity.waitsForStandby { noteStandby() }
        let highest = note(timeline: identity.timeline)
        if let mismatch = identity.mismatch(with: name, of: cluster, highestTimeline: highest) { return .failure(mismatch) }
        state.withLock { $0.identity = identity }
        connection.attachment = identity
        // Behind a pooler libpq knows the number of no process of the server; the pooler itself takes a request to cancel.
        if !isPooled, let start = identity.backendStart, let control = state.withLock({ $0.control }) {
            let cancellation = SessionCancellation(backend: connection.backend, start: start, control: control)
            connection.stopper = { cancellation.run(otherwise: $0) }
        }
        return .success(())
    }

    private var notInitialised: TandemError {
        TandemError(.notInitialised, "the database has no tables of Tandem", node: name, nextStep: "run `tandem init`")
    }
}

extension NodeConfiguration {
    package var connectionParameters: ConnectionParameters {
        var parameters = ConnectionParameters(conninfo: conninfo, password: password?.value, connectTimeout: connectTimeout)
        let times = [("lock_timeout", lockTimeout), ("statement_timeout", statementTimeout), ("idle_in_transaction_session_timeout", idleInTransactionTimeout)]
        for (setting, time) in times {
            parameters.settings.removeAll { $0.name == setting }
            parameters.settings.append((setting, String(time.wholeMilliseconds)))
        }
        return parameters
    }
}

extension Duration {
    /// Whole milliseconds, at least 1 for any time above zero: PostgreSQL takes 0 for "no limit".
    package var wholeMilliseconds: Int64 {
        let (seconds, attoseconds) = components
        let whole = seconds * 1000 + attoseconds / 1_000_000_000_000_000
        return whole == 0 && self > .zero ? 1 : whole
    }

    /// Seconds, as JSON and tables show them.
    package var inSeconds: Double {
        Double(components.seconds) + Double(components.attoseconds) / 1e18
    }
}
