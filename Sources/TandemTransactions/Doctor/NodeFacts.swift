import Foundation
import TandemCluster
import TandemCore
import TandemPostgres

/// What one session of a node tells about it, for the doctor.
struct NodeFacts: Sendable, Decodable {
    struct Foreign: Sendable, Decodable {
        let gid: String
        let age: Double
    }

    struct Holder: Sendable, Decodable {
        let what: String
        let age: Int
    }

    /// The role that has logged in.
    let role: String
    let version: Int
    let maximumPrepared: Int
    /// Prepared transactions of the whole server.
    let prepared: Int
    /// The age of the oldest prepared transaction of this cluster in this database, in seconds.
    let oldestOwn: Double?
    /// The oldest prepared transaction of somebody else in this database; its age in seconds.
    let foreign: Foreign?
    /// Transactions that are committed here and not on all of their nodes, as was found and not accepted.
    let contradictions: Int
    let coordinators: Int
    /// The process that the server says runs this session; behind a pooler libpq was told of another.
    let backend: Int32
    let isEncrypted: Bool
    let isSocket: Bool
    let isLoopback: Bool
    let isFsync: Bool
    let isFullPageWrites: Bool
    /// What a session without Tandem's own setting would have.
    let synchronousCommit: String
    let standbyNames: String
    let standbys: Int
    let lockTimeout: String
    let statementTimeout: String
    let idleTimeout: String
    /// Seconds since 1970.
    let clock: Double
    /// Who keeps the oldest rows from being cleaned up, and how many transactions ago that began.
    let holder: Holder?
    /// What the session's role may not do and has to.
    let missingRights: [String]

    /// Where every commit waits for a standby that is not there, a trial would stay prepared.
    var canTryToPrepare: Bool { maximumPrepared > 0 && (standbyNames.isEmpty || standbys > 0) }

    /// - Parameter prefix: how gids of the cluster begin.
    /// - Returns: the question, whose answer ``read(_:)`` reads.
    static func question(prefix: String) -> Batch {
        // With this path every unqualified name is the server's own.
        Batch([Statement("BEGIN READ ONLY"), Statement("SET LOCAL search_path = pg_catalog"), statement(prefix), Register.commit])
    }

    private static func statement(_ prefix: String) -> Statement {
        Statement(
            """
            WITH own AS (
                SELECT x.*, starts_with(x.gid, $1) AS is_own, extract(epoch FROM clock_timestamp() - x.prepared) AS age FROM pg_prepared_xacts x
                WHERE x.database = current_database()
            ), holder AS (
                SELECT 'session ' || a.pid || ' (' || coalesce(nullif(a.application_name, ''), a.usename, '') || ', ' || coalesce(a.state, '') || ')' AS what,
                    age(a.backend_xmin) AS age FROM pg_stat_activity a WHERE a.backend_xmin IS NOT NULL AND a.pid <> pg_backend_pid()
                UNION ALL SELECT 'prepared transaction ' || x.gid, age(x.transaction) FROM pg_prepared_xacts x
                UNION ALL SELECT 'replication slot ' || s.slot_name, greatest(age(s.xmin), age(s.catalog_xmin)) FROM pg_replication_slots s
                WHERE s.xmin IS NOT NULL OR s.catalog_xmin IS NOT NULL
                ORDER BY age DESC LIMIT 1
            )
            SELECT json_build_object(
                'role', session_user, 'version', current_setting('server_version_num')::int, 'maximumPrepared', current_setting('max_prepared_transactions')::int,
                'prepared', (SELECT count(*) FROM pg_prepared_xacts), 'oldestOwn', (SELECT max(age) FROM own WHERE is_own),
                'foreign', (SELECT json_build_object('gid', gid, 'age', age) FROM own WHERE NOT is_own ORDER BY age DESC LIMIT 1),
                'contradictions', (SELECT count(DISTINCT o.transaction_id) \(ContradictionRecord.openRows)),
                'coordinators', (SELECT count(DISTINCT l.objid) FROM pg_locks l WHERE l.locktype = 'advisory' AND l.classid = $2::int8::oid AND l.objsubid = 2),
                'backend', pg_backend_pid(), 'isEncrypted', coalesce((SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()), false),
                'isSocket', inet_server_addr() IS NULL, 'isLoopback', coalesce(inet_server_addr() <<= '127.0.0.0/8' OR inet_server_addr() = '::1', false),
                'isFsync', current_setting('fsync') = 'on', 'isFullPageWrites', current_setting('full_page_writes') = 'on',
                'synchronousCommit', (SELECT reset_val FROM pg_settings WHERE name = 'synchronous_commit'),
                'standbyNames', current_setting('synchronous_standby_names'), 'standbys', (SELECT count(*) FROM pg_stat_replication),
                'lockTimeout', current_setting('lock_timeout'), 'statementTimeout', current_setting('statement_timeout'),
                'idleTimeout', current_setting('idle_in_transaction_session_timeout'), 'clock', extract(epoch FROM clock_timestamp()),
                'holder', (SELECT json_build_object('what', what, 'age', age) FROM holder),
                'missingRights', (SELECT coalesce(json_agg(r.what), '[]') FROM (VALUES
                    ('INSERT on tandem.branch', has_column_privilege('tandem.branch', 'transaction_id', 'INSERT')),
                    ('SELECT on tandem.branch', has_table_privilege('tandem.branch', 'SELECT')),
                    ('INSERT on tandem.operation', has_column_privilege('tandem.operation', 'reason', 'INSERT')),
                    ('EXECUTE on tandem.tombstone', has_function_privilege('tandem.tombstone(uuid, text)', 'EXECUTE')),
                    ('EXECUTE on tandem.forget', has_function_privilege('tandem.forget(uuid, uuid[], integer)', 'EXECUTE'))
                ) AS r (what, is_there) WHERE NOT r.is_there))
            """, parameters: ParameterBuffer(texts: [prefix, String(Presence.key)]), isPrepared: false)
    }

    /// Reads the answer, one JSON value; `nil` for anything else.
    static func read(_ reply: SegmentReply) -> NodeFacts? {
        guard reply.error == nil, reply.results.count == 4, let text = reply.results[2].text(0, 0) else { return nil }
        return try? JSONDecoder().decode(NodeFacts.self, from: Data(text.utf8))
    }
}
