package import TandemCore
import TandemPostgres

/// Who a database says it is: read on every new connection (R3), so that an address that now answers as another database resolves nothing.
///
/// A class, since every transaction asks for it: handing it on costs one reference.
package final class NodeIdentity: Sendable {
    package let cluster: String
    package let id: NodeID
    package let name: String
    package let schemaVersion: Int
    /// The server as `initdb` made it. A physical copy has the same one, which is why the timeline counts too.
    package let systemIdentifier: Int64
    package let databaseOID: UInt32
    package let recordedSystemIdentifier: Int64
    package let recordedDatabaseOID: UInt32
    package let isStandby: Bool
    /// Grows with each promotion (A13); 0 on a standby.
    package let timeline: UInt32
    package let maximumPrepared: Int
    package let serverVersion: Int
    /// Whether a constraint or trigger of the database may be deferred to the end of a transaction.
    package let hasDeferrable: Bool
    /// Whether the server has synchronous standbys, for which its commits wait.
    package let waitsForStandby: Bool
    /// The lowest version of the program that the schema serves.
    package let leastProgram: Int
    /// When the session's process began: with its number it names one session, whatever process gets the number later.
    let backendStart: String?

    /// One round trip, answered by any role.
    static let statement = Statement(
        """
        SELECT n.cluster, n.node_id, n.name, n.system_identifier, n.database_oid,
               (SELECT max(version) FROM tandem.schema_version),
               (SELECT system_identifier FROM pg_catalog.pg_control_system()),
               (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()),
               pg_catalog.pg_is_in_recovery(),
               CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL
                    ELSE pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8) END,
               pg_catalog.current_setting('max_prepared_transactions'), pg_catalog.current_setting('server_version_num'),
               EXISTS (SELECT FROM pg_catalog.pg_trigger WHERE tgdeferrable) OR EXISTS (SELECT FROM pg_catalog.pg_constraint WHERE condeferrable),
               pg_catalog.current_setting('synchronous_standby_names') OPERATOR(pg_catalog.<>) '',
               (SELECT max(needs) FROM tandem.schema_version),
               (SELECT a.backend_start FROM pg_catalog.pg_stat_activity a WHERE a.pid OPERATOR(pg_catalog.=) pg_catalog.pg_backend_pid())
        FROM tandem.node n
        """, isPrepared: false)

    init?(_ result: ResultSet) {
        guard result.rowCount == 1, let cluster = result.text(0, 0), let id = result.text(0, 1).flatMap({ Int16($0) }).flatMap({ NodeID(rawValue: $0) }),
            let name = result.text(0, 2), let recordedSystem = result.text(0, 3).flatMap({ Int64($0) }),
            let recordedDatabase = result.text(0, 4).flatMap({ UInt32($0) }), let system = result.text(0, 6).flatMap({ Int64($0) }),
            let database = result.text(0, 7).flatMap({ UInt32($0) })
        else { return nil }
        self.cluster = cluster
        self.id = id
        self.name = name
        schemaVersion = result.text(0, 5).flatMap { Int($0) } ?? 0
        systemIdentifier = system
        databaseOID = database
        recordedSystemIdentifier = recordedSystem
        recordedDatabaseOID = recordedDatabase
        isStandby = result.text(0, 8) == "t"
        timeline = result.text(0, 9).flatMap { UInt32($0, radix: 16) } ?? 0
        maximumPrepared = result.text(0, 10).flatMap { Int($0) } ?? 0
        serverVersion = result.text(0, 11).flatMap { Int($0) } ?? 0
        hasDeferrable = result.text(0, 12) != "f"
        waitsForStandby = result.text(0, 13) != "f"
        leastProgram = result.text(0, 14).flatMap { Int($0) } ?? 0
        backendStart = result.text(0, 15)
    }

    /// Why this database is not the node that the configuration means; `nil` when it is.
    func mismatch(with name: NodeName, of cluster: ClusterName, highestTimeline: UInt32) -> TandemError? {
        func refused(_ what: String, _ next: String) -> TandemError {
            TandemError(.identityMismatch, what, node: name, nextStep: next)
        }
        if self.cluster != cluster.rawValue {
            return refused("the database belongs to the cluster \(self.cluster), not to \(cluster)", "correct the address or the cluster's name")
        }
        if self.name != name.rawValue {
            return refused("the database is the node \(self.name), not \(name)", "correct the addresses in the configuration")
        }
        if systemIdentifier != recordedSystemIdentifier || databaseOID != recordedDatabaseOID {
            return refused(
                "the database is a copy: it was initialised as \(recordedSystemIdentifier)/\(recordedDatabaseOID) and answers as \(systemIdentifier)/\(databaseOID)",
                "correct the address; for a database that was moved on purpose see docs/operating.md, \"A node moved\"")
        }
        if isStandby { return refused("the server is a standby and takes no writes", "connect to the primary (target_session_attrs=read-write)") }
        if timeline < highestTimeline {
            return refused(
                "the server is on timeline \(timeline), while the node was seen on \(highestTimeline): it was left behind by a failover",
                "connect to the promoted server")
        }
        return CoreSchema.mismatch(version: schemaVersion, leastProgram: leastProgram, node: name)
    }
}
