public import Metrics
public import Logging
public import TandemCore
public import Tracing

/// A named set of nodes and the times that hold for all of them.
///
/// ```swift
/// let configuration = try ClusterConfiguration("bank", nodes: [
///     NodeConfiguration("bankA", conninfo: "host=127.0.0.1 port=5433 dbname=bank user=app"),
///     NodeConfiguration("bankB", conninfo: "host=127.0.0.1 port=5434 dbname=bank user=app"),
/// ])
/// ```
public struct ClusterConfiguration: Sendable {
    /// The name that marks everything of this cluster in its databases. Two clusters never touch each other's transactions.
    public var name: ClusterName
    /// The nodes, in the order in which transactions touch them where they may choose.
    public var nodes: [NodeConfiguration]
    /// Threads that run connections and the bodies of transactions. See ADR 0002 for what was measured.
    public var reactors = 2
    /// How often `Cluster.run()` looks for transactions that somebody left undecided.
    public var recoveryInterval: Duration = .seconds(2)
    /// How young a prepared branch without a decision is left alone. It only avoids needless rollbacks; at least the lock and statement
    /// timeouts of a vote.
    public var recoveryGrace: Duration = .seconds(60)
    /// How often `Cluster.run()` compares what was committed on one node with the transaction's other nodes: what it finds was lost by a failover, or finished by hand
    /// against the decision.
    public var auditInterval: Duration = .seconds(60)
    /// How long rows of the register are kept once every member has answered.
    public var retention: Duration = .seconds(24 * 3600)
    /// Prepared transactions of each server that are left to others.
    public var preparedReserve = 5
    /// Where debug messages go; nowhere by default.
    public var logger = Logger(label: "tandem", factory: { _ in SwiftLogNoOpLogHandler() })

    /// Where metrics go; by default to the backend that the program bootstrapped before the cluster ran its first transaction. docs/metrics.md lists
    /// them.
    public var metrics: (any MetricsFactory)?
    /// Where spans go; by default to the backend that the program bootstrapped before the cluster ran its first transaction.
    public var tracer: (any Tracer)?

    /// A cluster.
    ///
    /// - Parameters:
    ///   - name: 1 to 16 characters of `A-Z a-z 0-9 _ . -`.
    ///   - nodes: at least one node; names are unique.
    /// - Throws: `configurationInvalid` when there is no node or a name appears twice.
    public init(_ name: ClusterName, nodes: [NodeConfiguration]) throws {
        self.name = name
        self.nodes = nodes
        guard !nodes.isEmpty else { throw TandemError(.configurationInvalid, "a cluster needs at least one node", nextStep: "name its nodes") }
        var seen: Set<NodeName> = []
        for node in nodes where !seen.insert(node.name).inserted {
            throw TandemError(.configurationInvalid, "two nodes have the name \(node.name)", node: node.name, nextStep: "give each node a name of its own")
        }
    }
}
