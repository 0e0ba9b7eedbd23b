public import TandemCore
public import TandemPostgres

/// One node: a PostgreSQL database and how it is used.
public struct NodeConfiguration: Sendable {
    /// The name by which programs, files and tables call the node.
    public var name: NodeName
    /// A connection string in either form of libpq: `host=... dbname=...` or `postgresql://...`.
    public var conninfo: String
    /// The password, where it stands neither in a password file nor in `PGPASSWORD`.
    public var password: Secret?
    /// Bounds of the connections to the node.
    public var pool = PoolOptions()
    /// Which node of a transaction is its commit point: the one with the highest strength. Among equals it is the last in the order of nodes where the
    /// transaction is given as data, and the writer that the body touched first otherwise.
    public var commitPointStrength = 0
    /// A NOLOGIN role that owns prepared transactions (`SET ROLE`), where several users share a cluster.
    public var role: String?
    /// What stands between this program and the node. With a pooler in transaction mode `role` cannot be used.
    public var pooler = Pooler.none
    /// How long a statement waits for a lock.
    public var lockTimeout: Duration = .seconds(10)
    /// How long a statement runs.
    public var statementTimeout: Duration = .seconds(30)
    /// How long an open branch may lie idle before the server ends it.
    public var idleInTransactionTimeout: Duration = .seconds(60)
    /// How long one attempt to connect may take.
    public var connectTimeout: Duration = .seconds(5)

    /// A node.
    ///
    /// - Parameters:
    ///   - name: the name by which programs call it.
    ///   - conninfo: a connection string in either form of libpq.
    ///   - password: the password, where it stands nowhere else.
    public init(_ name: NodeName, conninfo: String, password: Secret? = nil) {
        self.name = name
        self.conninfo = conninfo
        self.password = password
    }
}
