import TandemCore
import TandemPostgres

/// What a transaction behind a pooler in transaction mode begins with, and what the sessions there have to be like by themselves.
///
/// The pooler lends a session for one transaction: what is set for the session would hit whoever gets it next, and be missing in our own next transaction.
struct PooledSettings: Sendable {
    private let opening: StatementText
    private let node: NodeName

    /// - Parameters:
    ///   - settings: What a session of our own starts with.
    ///   - node: The node, for errors.
    /// - Throws: `encodingFailed` where a setting cannot stand in a text.
    init(_ settings: [(name: String, value: String)], node: NodeName) throws {
        self.node = node
        // BEGIN says what these decide.
        let atBegin = ["default_transaction_isolation", "default_transaction_read_only", "default_transaction_deferrable"]
        let local = try settings.filter { !atBegin.contains($0.name) }.map {
            ", pg_catalog.set_config(\(try quoteLiteral($0.name)), \(try quoteLiteral($0.value)), true)"
        }
        opening = StatementText("SELECT pg_catalog.set_config('application_name', $1, true), \(NodeRuntime.durable(isLocal: true))\(local.joined())")
    }

    /// The settings of one transaction.
    ///
    /// - Parameter application: The application's name, which marks the transaction.
    /// - Returns: The statement.
    func statement(_ application: String) -> Statement { Statement(opening, parameters: ParameterBuffer(texts: [application])) }

    /// What the guard's error says, after which comes the system that answered.
    static let foreignServer = "tandem: another server than the node answers: system "

    /// Fails where the pooler leads to another server than the one that a connection was checked with, or to one that a failover has left behind.
    ///
    /// - Parameters:
    ///   - identity: Who the node was.
    ///   - timeline: The highest one on which it was seen.
    /// - Returns: The statement; its error is 22P02.
    static func guardStatement(_ identity: NodeIdentity, timeline: UInt32) -> Statement {
        let hex = String(timeline, radix: 16, uppercase: true)
        let name = String(repeating: "0", count: max(0, 8 - hex.utf8.count)) + hex
        return Statement(guardText, parameters: ParameterBuffer(texts: [String(identity.systemIdentifier), String(identity.databaseOID), name]))
    }

    private static let guardText = StatementText(
        """
        SELECT CASE WHEN NOT pg_catalog.pg_is_in_recovery() AND c.system_identifier OPERATOR(pg_catalog.=) $1::pg_catalog.int8
            AND (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
                OPERATOR(pg_catalog.=) $2::pg_catalog.oid
            AND pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) COLLATE "C" OPERATOR(pg_catalog.>=) $3
            THEN 0 ELSE ('\(foreignServer)' OPERATOR(pg_catalog.||) c.system_identifier::pg_catalog.text)::pg_catalog.int4 END
        FROM pg_catalog.pg_control_system() c
        """)

    /// Asks a session for what no transaction can set: COMMIT PREPARED and single statements run with it, and by its name others see that it is ours.
    static let question = Statement(
        """
        SELECT s.name, pg_catalog.current_setting(s.name), pg_catalog.quote_ident(current_user)
        FROM (VALUES ('default_transaction_isolation', '{read committed}'), ('default_transaction_read_only', '{off}'),
                     ('default_transaction_deferrable', '{off}'), ('synchronous_commit', '{on,remote_apply}'), ('standard_conforming_strings', '{on}'),
                     ('application_name', '{tandem}'),
                     ('client_min_messages', '{debug5,debug4,debug3,debug2,debug1,log,notice,warning}'))
             AS s (name, wanted)
        WHERE pg_catalog.current_setting(s.name) OPERATOR(pg_catalog.<>) ALL (s.wanted::pg_catalog.text[])
        """, isPrepared: false)

    /// Why the node's sessions will not do; nil where they will.
    func defect(_ reply: SegmentReply) -> TandemError? {
        if let error = reply.error { return TandemError(error, node: node) }
        guard let result = reply.results.last, result.rowCount > 0, let name = result.text(0, 0), let value = result.text(0, 1) else { return nil }
        return TandemError(
            .configurationInvalid, "the sessions of the pooler have \(name) = '\(value)', which Tandem cannot set there for longer than a transaction",
            node: node,
            nextStep: name == "application_name"
                ? "let the pooler pass application_name on as it is (application_name_add_host = 0)"
                : "ALTER ROLE \(result.text(0, 2) ?? "...") SET \(name) = ..., or let nobody change it in a session of the pooler; then reconnect the pooler")
    }
}
