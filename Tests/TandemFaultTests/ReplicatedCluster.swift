import Foundation
import TandemCluster
import TandemCore
import TandemLocal
import TandemPostgres
import TandemTestKit
import TandemTestSupport
import TandemTransactions

/// A cluster of two nodes, the second of which has a standby that takes over.
struct ReplicatedCluster: Sendable {
    private static let primary: NodeName = "n2", standby: NodeName = "n3"

    let cluster: Cluster
    let configuration: ClusterConfiguration
    private let servers: LocalCluster

    /// Gives the body one, on servers of its own.
    ///
    /// - Parameters:
    ///   - strength: of the node with the standby as a commit point; the other one has 1.
    ///   - body: uses it.
    /// - Throws: what the body throws, and what starting the servers throws.
    static func with(strength: Int = 0, _ body: @Sendable (ReplicatedCluster) async throws -> Void) async throws {
        let folder = "\(NSTemporaryDirectory())/tandem-replicated-\(UUID().uuidString.prefix(8))"
        var options = LocalClusterOptions(directory: folder, nodeCount: 3, settings: ["wal_level": "replica", "max_wal_senders": "4"])
        options.fsync = false
        try await withLocalServers(options) { servers in
            try await servers.makeStandby(standby, of: primary)
            let ports = try [primary, standby].map { String(try servers.node($0).port) }.joined(separator: ",")
            let (one, two) = (try servers.node("n1"), try servers.node(primary))
            var configuration = try ClusterConfiguration(
                "test",
                nodes: [
                    NodeConfiguration("n1", conninfo: one.conninfo),
                    NodeConfiguration(
                        primary,
                        conninfo: "host=127.0.0.1,127.0.0.1 port=\(ports) dbname=\(two.database) user=\(two.user) passfile='\(two.passfile)' sslmode=disable "
                            + "target_session_attrs=read-write"),
                ])
            configuration.nodes[0].commitPointStrength = 1
            configuration.nodes[1].commitPointStrength = strength
            _ = try await Initialiser(configuration).run()
            for node in [one, two] {
                try await sql(
                    node.conninfo, "CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL)",
                    "INSERT INTO account SELECT i, 1000 FROM generate_series(1, 10) i")
            }
            let cluster = try Cluster(configuration)
            defer { cluster.close() }
            try await body(ReplicatedCluster(cluster: cluster, configuration: configuration, servers: servers))
        }
    }

    func transfer(account: Int = 1) async throws -> Receipt<Void> {
        try await cluster.transaction { tx in
            try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = \(account)", rows: 1...1)
            try await tx["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = \(account)", rows: 1...1)
        }
    }

    /// Makes every commit on the node wait for the standby.
    func synchronise() async throws {
        let primary = try servers.node(Self.primary)
        try await sql(primary.superuserConninfo, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
        try await wait(for: "the synchronous standby") {
            try await sql(primary.superuserConninfo, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1"
        }
    }

    /// Waits until the standby has everything.
    func standbyCatchesUp() async throws {
        let primary = try servers.node(Self.primary), standby = try servers.node(Self.standby)
        let end = try await sql(primary.superuserConninfo, "SELECT pg_current_wal_flush_lsn()") ?? ""
        try await wait(for: "the standby") { try await sql(standby.superuserConninfo, "SELECT pg_last_wal_replay_lsn() >= '\(end)'") == "t" }
    }

    /// From here on the standby gets nothing more: what the node does is lost when the standby takes over.
    func cutReplication() async throws {
        try await standbyCatchesUp()
        let standby = try servers.node(Self.standby)
        try await sql(standby.superuserConninfo, "ALTER SYSTEM SET primary_conninfo = ''", "SELECT pg_reload_conf()")
        try await wait(for: "the end of streaming") { try await sql(standby.superuserConninfo, "SELECT count(*) FROM pg_stat_wal_receiver") == "0" }
    }

    /// The node dies, and its standby takes over.
    func failOver() async throws {
        try await servers.kill(Self.primary)
        try await sql(try servers.node(Self.standby).superuserConninfo, "SELECT pg_promote()")
    }

    func balance(_ node: NodeName, account: Int = 1) async throws -> String? {
        let server = node == Self.primary ? Self.standby : node
        return try await sql(try servers.node(server).conninfo, "SELECT balance FROM account WHERE id = \(account)")
    }

    /// What is prepared on the standby that took over.
    func prepared() async throws -> String? { try await sql(try servers.node(Self.standby).conninfo, "SELECT count(*) FROM pg_prepared_xacts") }
}
