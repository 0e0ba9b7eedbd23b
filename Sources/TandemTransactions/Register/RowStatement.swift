package import TandemCore
package import TandemPostgres

/// The statement that inserts a branch's row on one node (R2, R5a, R17), in the message that carries PREPARE or COMMIT and never earlier, or ROLLBACK
/// TO could take it away.
///
/// It fails with 23502 when the session is no longer in the transaction that it began (A1: user SQL ended it) or when the id lies behind the
/// horizon, since the node's number is then NULL; the rest of the message is skipped. Expected tag: `INSERT 0 1`. It also makes the commit that follows
/// wait for its flush and its standby whatever user SQL or the session's defaults say (A2), and lets the warning through that
/// tells of a wait that was cut short (A3).
///
/// It does not name the kind, which is 'W' where nobody says otherwise: whoever may insert these columns cannot write a tombstone.
///
/// What is the same for every transaction stands in the text: each parameter costs the server about a microsecond, twice a transaction.
package struct RowStatement: Sendable {
    private let marked: StatementText
    private let unmarked: StatementText

    /// The statement of one node.
    ///
    /// - Parameters:
    ///   - node: the node's number.
    ///   - coordinator: what stands beside the row for whoever reads the register.
    /// - Throws: `encodingFailed` where the coordinator's name cannot stand in a text.
    package init(node: NodeID, coordinator: String) throws {
        let coordinator = try quoteLiteral(coordinator)
        func text(_ proof: String) -> StatementText {
            StatementText(
                """
                INSERT INTO tandem.branch (transaction_id, node, members, coordinator)
                VALUES ($1::pg_catalog.uuid,
                    CASE WHEN \(proof)(SELECT n.forgotten FROM tandem.node n) OPERATOR(pg_catalog.<) $1::pg_catalog.uuid
                          AND CASE WHEN pg_catalog.current_setting('synchronous_commit') IN ('on', 'remote_apply') THEN true
                                   ELSE pg_catalog.set_config('synchronous_commit', 'on', true) IS NOT NULL END
                          AND CASE WHEN pg_catalog.current_setting('client_min_messages') IN ('notice', 'warning') THEN true
                                   ELSE pg_catalog.set_config('client_min_messages', 'warning', true) IS NOT NULL END
                         THEN \(node)::pg_catalog.int2 END,
                    $2::pg_catalog.int2[], \(coordinator))
                """)
        }
        marked = text("pg_catalog.current_setting('application_name') OPERATOR(pg_catalog.=) $3 AND ")
        unmarked = text("")
    }

    /// The row of one transaction.
    ///
    /// - Parameters:
    ///   - transaction: the transaction.
    ///   - members: the nodes whose branches wrote.
    ///   - isMarked: whether the branch began with the mark, which then has to be there still. Without it the branch must hold nothing that could
    ///     have ended the transaction: see ``TandemPostgres/StatementClass/dataOnly``.
    /// - Returns: the statement.
    package func insert(_ transaction: TransactionID, members: [NodeID], isMarked: Bool) -> Statement {
        var parameters = ParameterBuffer()
        parameters.append(uuid: (transaction.high, transaction.low))
        parameters.append(members.map(\.rawValue))
        if isMarked { parameters.append(text: Register.mark(transaction)) }
        return Statement(isMarked ? marked : unmarked, parameters: parameters)
    }
}
