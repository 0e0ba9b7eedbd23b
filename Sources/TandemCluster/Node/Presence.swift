package import TandemPostgres

/// How the coordinators of a server know of each other (R18, B7): each of their sessions holds an advisory lock that names its coordinator, and
/// `pg_locks` shows those of all databases to everybody. It ends with the session, so nobody has to clean up after a crash.
package struct Presence: Sendable {
    /// The first half of every such lock's key: `tdm1`.
    package static let key: Int32 = 0x7464_6D31

    /// The second half: this coordinator, whatever other keys of the same two halves exist.
    package let number: Int32

    init() { number = .random(in: .min ... .max) }

    /// What takes the lock, as one value of a SELECT. Shared: the sessions of one coordinator hold it together, and nobody ever waits for it.
    var expression: String { "pg_catalog.pg_advisory_lock_shared(\(Self.key), \(number))" }

    /// The slots of a server: the maximum, how many are taken by whomever, how many coordinators are there, and whether it
    /// has synchronous standbys by now.
    package static let slots = Statement(
        """
        SELECT pg_catalog.current_setting('max_prepared_transactions'), (SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_xacts),
               (SELECT pg_catalog.count(DISTINCT l.objid) FROM pg_catalog.pg_locks l
                WHERE l.locktype OPERATOR(pg_catalog.=) 'advisory' AND l.classid OPERATOR(pg_catalog.=) \(key) AND l.objsubid OPERATOR(pg_catalog.=) 2),
               pg_catalog.current_setting('synchronous_standby_names') OPERATOR(pg_catalog.<>) ''
        """)
}
