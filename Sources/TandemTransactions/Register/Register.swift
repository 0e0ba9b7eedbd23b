import TandemCluster
package import TandemCore
package import TandemPostgres

/// The statements on the decision register, `tandem.branch`.
///
/// First writer wins, by the primary key: that is the whole register, and it needs no clock, no lease and no other server (R2).
package enum Register {
    /// The application name that marks the sessions of a transaction, and proves that a session is still in it.
    static func mark(_ transaction: TransactionID) -> String { markPrefix + transaction.description }
    static let markPrefix = "tandem:"

    package static let begin = Statement("BEGIN")

    static func begin(_ isolation: Isolation, isReadOnly: Bool) -> Statement {
        Statement("BEGIN ISOLATION LEVEL \(isolation.sql) \(isReadOnly ? "READ ONLY" : "READ WRITE")")
    }

    private static let markText: StatementText = "SELECT pg_catalog.set_config('application_name', $1, true)"

    /// Sent right after BEGIN. `true`: until the transaction ends. Whatever ends it (COMMIT, ROLLBACK, AND CHAIN) also takes the mark back.
    package static func mark(_ transaction: TransactionID) -> Statement {
        Statement(markText, parameters: ParameterBuffer(texts: [mark(transaction) as String]))
    }

    /// Deferred constraints and triggers run now, as the session's own role and under its timeouts, and not inside PREPARE or COMMIT.
    static let immediateConstraints = Statement("SET CONSTRAINTS ALL IMMEDIATE")

    package static func prepare(_ gid: GID) -> Statement {
        // A gid holds nothing that would need quoting: its fields are checked when they are made.
        Statement("PREPARE TRANSACTION '" + gid.description + "'", isPrepared: false)
    }

    /// What makes a commit without a row wait for its flush and its standby, and say if it did not; the row does so itself.
    static let durable = Statement("SELECT \(durable(isLocal: true))")
    static let durableSession = Statement("SELECT \(durable(isLocal: false))")

    private static func durable(isLocal: Bool) -> String {
        """
        \(NodeRuntime.durable(isLocal: isLocal)),
        CASE WHEN pg_catalog.current_setting('client_min_messages') IN ('notice', 'warning') THEN NULL
             ELSE pg_catalog.set_config('client_min_messages', 'notice', \(isLocal)) END
        """
    }

    package static let commit = Statement("COMMIT")
    static let rollback = Statement("ROLLBACK")

    /// Outside a block and alone in its segment (25001 otherwise).
    static func commitPrepared(_ gid: GID) -> Statement { Statement("COMMIT PREPARED '" + gid.description + "'", isPrepared: false) }
    static func rollbackPrepared(_ gid: GID) -> Statement { Statement("ROLLBACK PREPARED '" + gid.description + "'", isPrepared: false) }

    /// R7, R17c: whether a branch must vote. A branch that reaches foreign servers may have written there without an xid of its own.
    static let hasWritten = Statement(
        """
        SELECT pg_catalog.pg_current_xact_id_if_assigned() IS NOT NULL OR EXISTS (SELECT FROM pg_catalog.pg_foreign_server)
        """)

    /// R13, A8: the one statement that decides, alone in its transaction: `tandem.tombstone` in the node's database.
    ///
    /// Its INSERT waits for a row that is being committed, writes the tombstone where there is none, reads what is there, and by DO UPDATE makes
    /// this transaction write, so that its own synchronous COMMIT is the barrier (R13a): what was read is then as durable as that COMMIT. At
    /// READ COMMITTED, whatever the session's default is: under any other level the row that was waited for is not visible (40001).
    ///
    /// Behind the horizon the INSERT has nothing to insert and so finds no conflict either, but a row that is still needed stands there (R17):
    /// a SELECT reads it, and its lock makes this transaction write, so that it is a barrier as well. Neither row: nobody can know any more.
    /// The answer counts only with the tag COMMIT and without a warning of replication.
    static func verdict(_ transaction: TransactionID, coordinator: String) -> [Statement] {
        [
            Statement("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"),
            Statement(
                """
                SELECT pg_catalog.set_config('lock_timeout', '500', true), pg_catalog.set_config('statement_timeout', '0', true),
                       pg_catalog.set_config('client_min_messages', 'warning', true),
                       \(NodeRuntime.durable(isLocal: true))
                """),
            Statement(
                "SELECT tandem.tombstone($1::pg_catalog.uuid, $2)", parameters: ParameterBuffer(texts: [transaction.description, coordinator])),
            commit,
        ]
    }

    /// What the answer to ``verdict(_:coordinator:)`` says.
    static func verdict(from reply: SegmentReply) -> Verdict {
        guard reply.error == nil, reply.results.count == 4, reply.lastTag == "COMMIT", !reply.isReplicationUnconfirmed, !reply.hasTransactionWarning else {
            return .undecided
        }
        guard reply.results[2].rowCount == 1 else { return .undecided }
        return switch reply.results[2].text(0, 0) {
        case "W": .committed
        case "A": .aborted
        case nil: .forgotten
        default: .undecided
        }
    }

    /// A plain read of a row, never enough to decide.
    static func read(_ transaction: TransactionID, node: NodeID) -> Statement {
        Statement(
            """
            SELECT b.kind, n.forgotten OPERATOR(pg_catalog.>=) $1::pg_catalog.uuid, b.coordinator, b.at, b.members
            FROM tandem.node n LEFT JOIN tandem.branch b ON b.transaction_id OPERATOR(pg_catalog.=) $1::pg_catalog.uuid AND b.node OPERATOR(pg_catalog.=) $2
            """, parameters: ParameterBuffer(texts: [transaction.description, node.description]))
    }

    /// What the answer to ``read(_:node:)`` says.
    static func row(from reply: SegmentReply) -> Row {
        guard reply.error == nil, let result = reply.results.last, result.rowCount == 1 else { return .unreachable }
        return switch result.text(0, 0) {
        case "W": .work
        case "A": .tombstone
        default: result.text(0, 1) == "t" ? .forgotten : .absent
        }
    }
}
