import TandemCluster
import TandemCore
import TandemPostgres

/// The waits of one node, as its server tells them.
enum WaitList {
    /// Waits that are looked at, the oldest first: to ask who blocks whom holds up the server's locks for a moment.
    private static let most = 200

    /// D1: whether anybody waits, which is asked once a second. Everybody may see it.
    static let probe = Statement(
        """
        SELECT EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE NOT l.granted)
            OR EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.wait_event OPERATOR(pg_catalog.=) 'SafeSnapshot')
        """)

    /// Every wait of this database: who, since when, for which session or which prepared branch (D2).
    ///
    /// A blocker 0 is a prepared branch. It is found by the lock: the wait for a row is a wait for the transaction that changed it, and of tables and the like
    /// the branches count whose lock conflicts ("Explicit Locking", table 13.2). Whose a lock is shows the lock on its own transaction's id; `-1/xid` stands there,
    /// as the manual has it, only after the server was restarted.
    static let question = Statement(
        """
        WITH lock_waits AS MATERIALIZED (
            SELECT l.*, pg_catalog.pg_blocking_pids(l.pid) AS blockers FROM (
                SELECT * FROM pg_catalog.pg_locks p WHERE NOT p.granted AND p.waitstart IS NOT NULL
                  AND p.pid IN (SELECT s.pid FROM pg_catalog.pg_stat_activity s WHERE s.datname OPERATOR(pg_catalog.=) pg_catalog.current_database())
                ORDER BY p.waitstart LIMIT \(most)) l
        ), conflicts (wanted, held) AS (VALUES
            ('AccessShareLock', '{AccessExclusiveLock}'),
            ('RowShareLock', '{ExclusiveLock,AccessExclusiveLock}'),
            ('RowExclusiveLock', '{ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
            ('ShareUpdateExclusiveLock', '{ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
            ('ShareLock', '{RowExclusiveLock,ShareUpdateExclusiveLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
            ('ShareRowExclusiveLock',
             '{RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
            ('ExclusiveLock',
             '{RowShareLock,RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}'),
            ('AccessExclusiveLock',
             '{AccessShareLock,RowShareLock,RowExclusiveLock,ShareUpdateExclusiveLock,ShareLock,ShareRowExclusiveLock,ExclusiveLock,AccessExclusiveLock}')
        ), waits AS (
            SELECT w.pid, w.waitstart::text AS since, b.pid AS blocker, NULL AS gid, w.locktype
            FROM lock_waits w CROSS JOIN LATERAL pg_catalog.unnest(w.blockers) AS b (pid) WHERE b.pid OPERATOR(pg_catalog.<>) 0
            UNION
            SELECT w.pid, w.waitstart::text, 0, x.gid, w.locktype
            FROM lock_waits w JOIN conflicts c ON c.wanted OPERATOR(pg_catalog.=) w.mode
            JOIN pg_catalog.pg_locks h ON h.pid IS NULL AND h.granted AND h.mode OPERATOR(pg_catalog.=) ANY (c.held::text[])
              AND (h.locktype, h.database, h.relation, h.page, h.tuple, h.transactionid, h.classid, h.objid, h.objsubid)
                  IS NOT DISTINCT FROM (w.locktype, w.database, w.relation, w.page, w.tuple, w.transactionid, w.classid, w.objid, w.objsubid)
            JOIN pg_catalog.pg_locks o ON o.pid IS NULL AND o.locktype OPERATOR(pg_catalog.=) 'transactionid'
              AND o.virtualtransaction OPERATOR(pg_catalog.=) h.virtualtransaction
            JOIN pg_catalog.pg_prepared_xacts x ON x.transaction OPERATOR(pg_catalog.=) o.transactionid
            WHERE 0 OPERATOR(pg_catalog.=) ANY (w.blockers)
            UNION
            SELECT a.pid, a.state_change::text, s.pid, NULL, 'snapshot'
            FROM pg_catalog.pg_stat_activity a CROSS JOIN LATERAL pg_catalog.unnest(pg_catalog.pg_safe_snapshot_blocking_pids(a.pid)) AS s (pid)
            WHERE a.wait_event OPERATOR(pg_catalog.=) 'SafeSnapshot' AND a.datname OPERATOR(pg_catalog.=) pg_catalog.current_database()
        )
        SELECT w.pid, coalesce(a.backend_start::text, ''), coalesce(a.application_name, ''), w.since, coalesce(pg_catalog.left(a.query, 300), ''),
               w.blocker, coalesce(b.backend_start::text, ''), coalesce(b.application_name, ''), w.gid, w.locktype,
               coalesce(b.datname OPERATOR(pg_catalog.=) pg_catalog.current_database(), true)
        FROM waits w LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid OPERATOR(pg_catalog.=) w.pid
        LEFT JOIN pg_catalog.pg_stat_activity b ON b.pid OPERATOR(pg_catalog.=) w.blocker
        """)

    /// Reads the answer.
    ///
    /// - Parameters:
    ///   - result: the answer to ``question``.
    ///   - node: the node that gave it.
    ///   - own: which transaction each of this process's sessions is in: a branch of one message has no mark.
    /// - Returns: the waits.
    static func edges(_ result: ResultSet, on node: NodeName, own: [Int32: TransactionID]) -> [WaitEdge] {
        (0..<result.rowCount).compactMap { row in
            guard let process = result.text(row, 0).flatMap({ Int32($0) }), let since = result.text(row, 3),
                let blocker = result.text(row, 5).flatMap({ Int32($0) })
            else { return nil }
            func vertex(_ process: Int32, _ start: String, _ application: String) -> WaitEdge.Vertex {
                if let id = application.hasPrefix(Register.markPrefix) ? TransactionID(String(application.dropFirst(Register.markPrefix.count))) : nil {
                    return .transaction(id)
                }
                return own[process].map { .transaction($0) } ?? .session(node: node, process: process, start: start)
            }
            let session = WaitEdge.Session(process: process, start: result.text(row, 1) ?? "", application: result.text(row, 2) ?? "", waitStart: since)
            let blocking: WaitEdge.Vertex
            if let gid = result.text(row, 8) {
                // A prepared branch of somebody else waits for nothing that we know.
                guard let gid = GID(gid) else { return nil }
                blocking = .transaction(gid.transaction)
            } else {
                blocking = vertex(blocker, result.text(row, 6) ?? "", result.text(row, 7) ?? "")
            }
            let waiter = vertex(process, session.start, session.application)
            // A second session of one id in one database is its other use, sent again: it waits for the first one's end. In another database of the server it
            // is another branch.
            if waiter == blocking && result.text(row, 10) == "t" { return nil }
            let kind: WaitEdge.Kind =
                switch result.text(row, 9) {
                case "snapshot": .other
                case _ where session.start.isEmpty: .other
                case "tuple": .turn
                default: .lock
                }
            return WaitEdge(waiter, for: blocking, on: node, session: session, blockingProcess: blocker, kind: kind, statement: result.text(row, 4) ?? "")
        }
    }
}
