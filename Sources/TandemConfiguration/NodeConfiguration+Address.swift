package import TandemCluster
import TandemPostgres

/// Where a node is, without what opens it.
package struct NodeAddress {
    package let host: String
    package let port: String
    package let database: String
    package let user: String
}

extension NodeConfiguration {
    /// What the connection string says about the place; empty where it leaves it to libpq's defaults.
    package var address: NodeAddress {
        let words = ConnectionParameters.parse(conninfo) ?? [:]
        return NodeAddress(
            host: words["host"] ?? words["hostaddr"] ?? "", port: words["port"] ?? "", database: words["dbname"] ?? "",
            user: words["user"] ?? "")
    }
}
