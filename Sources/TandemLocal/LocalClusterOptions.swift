public import TandemCore

/// What a local cluster is made of, and where it lives.
///
/// For development, tests and demonstrations; a production node is never started with this.
public struct LocalClusterOptions: Sendable {
    /// The folder that holds the cluster: `cluster.json`, the password file, and (where the servers' account can reach it) the data.
    public var directory: String
    /// The names of the nodes; nil stands for the nodes that the folder already holds, and for `n1`, `n2`, `n3` in a new one.
    public var names: [NodeName]?
    /// The account that the servers run as when this process is root (PostgreSQL refuses root); otherwise unused.
    public var user = "postgres"
    /// The folder of `postgres` and `initdb`; nil takes `$TANDEM_PG_BIN`, or searches `pg_config --bindir`, then `/usr/lib/postgresql/*/bin`, then `PATH`.
    public var postgresBin: String?
    /// The database that is created on each node, and the name of the role that owns it.
    public var database = "tandem"
    /// The server setting `max_prepared_transactions`.
    public var maxPreparedTransactions = 1100
    /// The server setting `max_connections`.
    public var maxConnections = 200
    /// Whether the data lies in memory (or a temporary folder where that is small) and is removed at the end.
    public var isEphemeral = false
    /// Whether the servers go on when this process ends.
    public var isDetached = false
    /// Whether commits reach the disk; without it a crash of the machine can lose them.
    public var fsync = true
    /// More server settings, by name, which win over the ones above.
    public var settings: [String: String] = [:]

    /// Describes a cluster in `directory` with the nodes `n1` to `nN`; without a count, the nodes that the folder holds, or three.
    public init(
        directory: String, nodeCount: Int? = nil, isEphemeral: Bool = false, isDetached: Bool = false, settings: [String: String] = [:]
    ) {
        self.directory = directory
        self.names = nodeCount.map(Self.defaultNames(count:))
        self.isEphemeral = isEphemeral
        self.isDetached = isDetached
        self.settings = settings
    }

    static func defaultNames(count: Int) -> [NodeName] {
        (1...max(count, 1)).compactMap { try? NodeName("n\($0)") }
    }
}
