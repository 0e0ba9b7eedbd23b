import Foundation
package import TandemCluster
package import TandemCore
package import TandemLocal
import TandemPostgres

/// Nodes for one test: databases of its own on the tests' servers, initialised as a cluster, with an account table on each.
package struct TestCluster: Sendable {
    package let configuration: ClusterConfiguration
    package let local: LocalCluster
    package let database: String
    package let cluster: Cluster

    package static let accounts = 100
    package static let balance = 1000

    /// Another cluster object for the same nodes: as good as another process.
    package func another(_ change: (inout ClusterConfiguration) -> Void = { _ in }) throws -> Cluster {
        var configuration = configuration
        change(&configuration)
        return try Cluster(configuration)
    }

    package func conninfo(_ node: NodeName) throws -> String { try local.node(node).conninfo(database: database) }
    package func superuser(_ node: NodeName) throws -> String { try local.node(node).superuserConninfo(database: database) }

    package func session(_ node: NodeName) async throws -> RawSession { try await .open(try superuser(node)) }

    /// Runs a statement as the superuser, in a session of its own.
    @discardableResult
    package func value(_ node: NodeName, _ text: String) async throws -> String? { try await sql(try superuser(node), text) }

    package func count(_ node: NodeName, _ text: String) async throws -> Int {
        Int(try await value(node, "SELECT count(*) FROM \(text)") ?? "") ?? -1
    }

    /// How many sessions of this cluster's database wait for a lock, and have done so for a time; other tests' databases are on the same servers.
    package func waiting(_ node: NodeName, since age: String = "0") async throws -> Int {
        try await count(
            node,
            """
            pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
            WHERE NOT l.granted AND a.datname = current_database() AND l.waitstart <= clock_timestamp() - interval '\(age)'
            """)
    }

    package func balance(_ node: NodeName, _ account: Int) async throws -> Int {
        Int(try await value(node, "SELECT balance FROM account WHERE id = \(account)") ?? "") ?? -1
    }

    /// The gids that are prepared in this test's databases, whosever they are.
    package func prepared() async throws -> [String] {
        var gids: [String] = []
        for node in configuration.nodes {
            let text = try await value(
                node.name, "SELECT string_agg(gid, ',' ORDER BY gid) FROM pg_prepared_xacts WHERE database = current_database()")
            gids += text?.split(separator: ",").map(String.init) ?? []
        }
        return gids
    }

    /// The money on all nodes; it never changes.
    package func total() async throws -> Int {
        var sum = 0
        for node in configuration.nodes { sum += Int(try await value(node.name, "SELECT sum(balance) FROM account") ?? "") ?? -1 }
        return sum
    }
    package var expectedTotal: Int { configuration.nodes.count * Self.accounts * Self.balance }
}

/// Gives the body a cluster of its own, and removes its databases afterwards.
package func withCluster<Value>(
    _ count: Int = 2, on nodes: PostgresNodes = .shared, modules: [SchemaModule] = [], _ change: (inout ClusterConfiguration) -> Void = { _ in },
    _ body: (TestCluster) async throws -> Value
) async throws -> Value {
    let local = try await nodes.cluster()
    let database = "test_\(UUID().uuidString.lowercased().prefix(13).filter { $0 != "-" })"
    let used = Array(local.nodes.prefix(count))
    try await withThrowingTaskGroup { group in
        for node in used {
            group.addTask {
                try await sql(node.superuserConninfo, "CREATE DATABASE \(database) OWNER tandem")
                try await sql(
                    node.conninfo(database: database), "CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0))",
                    "INSERT INTO account SELECT i, \(TestCluster.balance) FROM generate_series(1, \(TestCluster.accounts)) i")
            }
        }
        try await group.waitForAll()
    }
    var configuration = try ClusterConfiguration(
        "test", nodes: used.map { NodeConfiguration($0.name, conninfo: $0.conninfo(database: database)) })
    change(&configuration)
    // The tables belong to somebody else: the cluster's own role has what a program needs, and no more.
    var owned = configuration
    for index in owned.nodes.indices { owned.nodes[index].conninfo = used[index].superuserConninfo(database: database) }
    _ = try await Initialiser(owned, granting: ["tandem"], modules: modules).run()
    let test = TestCluster(configuration: configuration, local: local, database: database, cluster: try Cluster(configuration))
    do {
        let value = try await body(test)
        await remove(test, used)
        return value
    } catch {
        await remove(test, used)
        throw error
    }
}

private func remove(_ test: TestCluster, _ used: [LocalNode]) async {
    test.cluster.close()
    for node in used {
        // A database with something prepared in it stays; the servers' data goes with the process anyway.
        _ = try? await sql(node.superuserConninfo, "DROP DATABASE \(test.database) WITH (FORCE)")
    }
}

/// As ``withCluster(_:on:_:_:)``, on servers that the body may kill, stop and set as it likes; one test at a time.
package func withDisturbedCluster<Value>(
    _ count: Int = 2, modules: [SchemaModule] = [], _ change: (inout ClusterConfiguration) -> Void = { _ in },
    _ body: (TestCluster) async throws -> Value
) async throws -> Value {
    let gate = PostgresNodes.disturbed.gate
    await gate.enter()
    do {
        let value = try await withCluster(count, on: .disturbed, modules: modules, change, body)
        await gate.leave()
        return value
    } catch {
        await gate.leave()
        throw error
    }
}
