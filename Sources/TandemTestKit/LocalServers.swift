public import TandemLocal

/// Gives the body real PostgreSQL servers on this machine, and removes them with all their data afterwards.
///
/// ```swift
/// try await withLocalServers(LocalClusterOptions(directory: "/var/tmp/my-tests", nodeCount: 2)) { servers in
///     let configuration = try ClusterConfiguration("test", nodes: servers.nodes.map { NodeConfiguration($0.name, conninfo: $0.conninfo) })
///     _ = try await Initialiser(configuration).run()
/// }
/// ```
///
/// - Parameters:
///   - options: how many, where, and with which settings; they end with the body whatever `isEphemeral` says.
///   - body: uses them.
/// - Returns: what the body returns.
/// - Throws: what the body throws, or why a server could not be started: `localNodeFailed`. Cancellation ends the body as it likes, and the servers then.
public func withLocalServers<Value>(
    _ options: LocalClusterOptions, _ body: (LocalCluster) async throws -> Value
) async throws -> Value {
    var options = options
    options.isEphemeral = true
    let servers = try await LocalCluster.start(options)
    do {
        let value = try await body(servers)
        try await servers.stop()
        return value
    } catch {
        try? await servers.stop()
        throw error
    }
}
