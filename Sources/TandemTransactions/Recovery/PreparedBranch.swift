import TandemCluster
import TandemCore
import TandemPostgres

/// A gid of ours as `pg_prepared_xacts` shows it.
struct PreparedBranch: Sendable {
    let gid: GID
    let node: NodeName
    let age: Duration
    let owner: String
    /// Statements that wait for its locks.
    let blocked: Int

    /// R1, A16: `starts_with`, since `_` is a wildcard of LIKE; by the node's own clock. Expected tag: `SELECT n`.
    static func list(_ cluster: ClusterName) -> Statement {
        Statement(
            """
            SELECT p.gid, (extract(epoch FROM pg_catalog.clock_timestamp() - p.prepared) * 1000)::bigint, p.owner,
                   (SELECT count(*) FROM pg_catalog.pg_locks w
                    WHERE w.locktype = 'transactionid' AND NOT w.granted AND w.transactionid = p.transaction)
            FROM pg_catalog.pg_prepared_xacts p
            WHERE p.database = pg_catalog.current_database() AND pg_catalog.starts_with(p.gid, $1)
            ORDER BY p.prepared
            """, parameters: ParameterBuffer(texts: [GID.prefix(of: cluster)]))
    }

    /// Reads a listed row; `nil` where the gid only looks like ours (parsed and printed back byte for byte) or belongs to another node.
    init?(_ result: ResultSet, _ row: Int, node: NodeName, id: NodeID) {
        guard let text = result.text(row, 0), let gid = GID(text), gid.node == id, let age = result.text(row, 1).flatMap({ Int64($0) }) else { return nil }
        self.gid = gid
        self.node = node
        self.age = .milliseconds(age)
        owner = result.text(row, 2) ?? ""
        blocked = result.text(row, 3).flatMap { Int($0) } ?? 0
    }
}
