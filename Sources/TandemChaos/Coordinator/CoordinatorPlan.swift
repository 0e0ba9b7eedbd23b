import Foundation
import TandemCore
import TandemCluster
import TandemPostgres

/// What a coordinator's process is told, in a file that only its user can read: it holds the nodes' password.
struct CoordinatorPlan: Codable, Sendable {
    struct Node: Codable, Sendable {
        let name: NodeName
        let conninfo: String
        let password: String
    }

    let options: ChaosOptions
    /// Which of the coordinators it is, from 0 on, and how many had its place before.
    let number: Int
    let incarnation: Int
    let cluster: ClusterName
    let nodes: [Node]
    /// Where it writes its history.
    let history: String
    /// When the load began, by the monotonic clock, in nanoseconds.
    let start: Int64

    /// One more than any number that two writers of elements share.
    static let writers = 1_000_000

    /// The number of one of its clients among all clients there ever were.
    func writer(_ client: Int) -> Int { (incarnation * options.coordinators + number) * options.clients + client }

    /// How often recovery looks, and how young it leaves an undecided branch alone: longer than a vote may take.
    static let recoveryInterval = Duration.milliseconds(500), recoveryGrace = Duration.seconds(4)

    /// Times that are short enough for a run of seconds.
    func configuration() throws -> ClusterConfiguration {
        let own = nodes.map { node in
            var configuration = NodeConfiguration(node.name, conninfo: node.conninfo, password: Secret(node.password))
            configuration.pool = PoolOptions(minimum: 0, maximum: max(2, options.clients))
            configuration.lockTimeout = .seconds(2)
            configuration.statementTimeout = .seconds(2)
            configuration.idleInTransactionTimeout = .seconds(10)
            configuration.connectTimeout = .seconds(2)
            return configuration
        }
        var configuration = try ClusterConfiguration(cluster, nodes: own)
        configuration.reactors = 1
        configuration.recoveryInterval = Self.recoveryInterval
        configuration.recoveryGrace = Self.recoveryGrace
        return configuration
    }
}
