import TandemCluster
import TandemCore
import TandemPostgres

extension Cluster {
    private static let retentionPatience = Duration.seconds(20)

    /// Runs one statement of the retention on a node's control connection.
    ///
    /// - Parameters:
    ///   - sql: one statement.
    ///   - parameters: its parameters as text.
    ///   - node: the node.
    /// - Returns: its result.
    /// - Throws: the server's error, with the phase `retention`; `nodeUnreachable` and kin.
    func retentionQuery(_ sql: String, _ parameters: [String], on node: NodeName) async throws -> ResultSet {
        let batch = Batch([Statement(sql, parameters: ParameterBuffer(texts: parameters))])
        let reply = try await runControl(node, batch, within: Self.retentionPatience).only
        if let error = reply.error { throw TandemError(error, node: node, phase: "retention") }
        guard let result = reply.results.last else { throw TandemError(.protocolViolation, "the server sent no answer", node: node) }
        return result
    }

    /// The names of the nodes by number, as far as they have answered.
    var namesByNumber: [NodeID: NodeName] {
        var names: [NodeID: NodeName] = [:]
        for node in nodes.values {
            if let identity = node.identity { names[identity.id] = node.name }
        }
        return names
    }
}
