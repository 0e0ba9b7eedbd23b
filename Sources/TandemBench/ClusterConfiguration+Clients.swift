import TandemCluster
import TandemPostgres

extension ClusterConfiguration {
    /// The same with room for clients each of which may be on any node, alone or in a pair.
    func sized(for clients: Int) -> ClusterConfiguration {
        var sized = self
        for index in sized.nodes.indices { sized.nodes[index].pool = PoolOptions(minimum: 0, maximum: max(2, clients)) }
        return sized
    }
}
