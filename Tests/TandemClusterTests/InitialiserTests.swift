import Foundation
import TandemCore
import TandemLocal
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemCluster

/// Databases of a test that nobody has initialised, on the tests' servers.
private struct Databases: Sendable {
    let names: [NodeName: String]
    let nodes: [LocalNode]

    /// Gives the body fresh databases: node names and the servers (0, 1, 2) on which they lie.
    static func with<Value>(_ places: [(NodeName, Int)], _ body: (Databases) async throws -> Value) async throws -> Value {
        let nodes = try await PostgresNodes.shared.cluster().nodes
        var names: [NodeName: String] = [:]
        for (name, server) in places {
            let database = "init_\(UUID().uuidString.lowercased().filter { $0 != "-" })"
            try await sql(nodes[server].superuserConninfo, "CREATE DATABASE \(database) OWNER tandem")
            names[name] = nodes[server].conninfo(database: database)
        }
        return try await body(Databases(names: names, nodes: nodes))
    }

    func configuration(_ cluster: ClusterName = "test", _ names: NodeName...) throws -> ClusterConfiguration {
        try ClusterConfiguration(cluster, nodes: names.map { NodeConfiguration($0, conninfo: self.names[$0] ?? "") })
    }

    func conninfo(_ name: NodeName) -> String { names[name] ?? "" }
}

private func refusal(_ configuration: ClusterConfiguration) async -> TandemError? {
    await #expect(throws: TandemError.self) { try await Initialiser(configuration).run() }
}

@Suite("Initialising")
struct InitialiserTests {
    @Test("gives each node its tables and a number, and changes nothing the second time")
    func twice() async throws {
        try await Databases.with([("a", 0), ("b", 1)]) { databases in
            let configuration = try databases.configuration("test", "a", "b")
            let first = try await Initialiser(configuration).run()
            #expect(first.map(\.nodeID) == [1, 2] && first.allSatisfy(\.isChanged))
            let second = try await Initialiser(configuration).run()
            #expect(second.map(\.nodeID) == [1, 2] && second.allSatisfy { !$0.isChanged })
            #expect(try await sql(databases.conninfo("a"), "SELECT count(*) FROM tandem.member") == "2")
            #expect(try await sql(databases.conninfo("b"), "SELECT name FROM tandem.node") == "b")
        }
    }

    @Test("two who initialise at once, in opposite orders, both succeed and agree")
    func atOnce() async throws {
        try await Databases.with([("a", 0), ("b", 1), ("c", 2)]) { databases in
            let one = try databases.configuration("test", "a", "b", "c"), two = try databases.configuration("test", "c", "b", "a")
            async let first = Initialiser(one).run()
            async let second = Initialiser(two).run()
            async let third = Initialiser(one).run()
            func numbers(_ nodes: [Initialiser.Node]) -> [String: Int] { Dictionary(nodes.map { ($0.name, $0.nodeID) }) { $1 } }
            let all = try await [first, second, third].map(numbers)
            #expect(Set(all).count == 1)
            #expect(Set(all[0].values) == [1, 2, 3])
        }
    }

    @Test("a node that joins later gets the next number, and the others hear of it")
    func joining() async throws {
        try await Databases.with([("a", 0), ("b", 1)]) { databases in
            _ = try await Initialiser(try databases.configuration("test", "b")).run()
            let nodes = try await Initialiser(try databases.configuration("test", "a", "b")).run()
            #expect(nodes.map(\.nodeID) == [2, 1])
            #expect(try await sql(databases.conninfo("b"), "SELECT string_agg(name, ',' ORDER BY node_id) FROM tandem.member") == "b,a")
        }
    }

    @Test("the printed script does what initialising does")
    func script() async throws {
        try await Databases.with([("a", 0)]) { databases in
            let configuration = try databases.configuration("test", "a")
            let script = try await Initialiser(configuration).script()
            #expect(try await sql(databases.conninfo("a"), "SELECT to_regclass('tandem.node')") == nil)
            let session = try await RawSession.open(databases.conninfo("a"))
            for statement in try #require(script.first).sql.split(separator: ";\n\n") { try await session.run(String(statement)) }
            await session.close()
            #expect(try await Initialiser(configuration).run().map(\.isChanged) == [false])
            #expect(try await Initialiser(configuration).script().first?.sql == "-- nothing to do\n")
        }
    }

    @Test("a failure on one node leaves it as it was, and running again finishes")
    func failureInBetween() async throws {
        try await Databases.with([("a", 0), ("b", 1)]) { databases in
            // Somebody else's table stands in the way on b.
            try await sql(databases.conninfo("b"), "CREATE SCHEMA tandem", "CREATE TABLE tandem.branch (x int)")
            _ = await refusal(try databases.configuration("test", "a", "b"))
            #expect(try await sql(databases.conninfo("b"), "SELECT to_regclass('tandem.node')") == nil)
            try await sql(databases.conninfo("b"), "DROP TABLE tandem.branch")
            let nodes = try await Initialiser(try databases.configuration("test", "a", "b")).run()
            #expect(Set(nodes.map(\.nodeID)) == [1, 2])
        }
    }

    // MARK: Refused

    @Test("two names for one database are refused, and nothing is written")
    func twoNames() async throws {
        try await Databases.with([("a", 0)]) { databases in
            let configuration = try ClusterConfiguration(
                "test", nodes: [NodeConfiguration("a", conninfo: databases.conninfo("a")), NodeConfiguration("b", conninfo: databases.conninfo("a"))])
            #expect(await refusal(configuration)?.code == .identityMismatch)
            #expect(try await sql(databases.conninfo("a"), "SELECT to_regclass('tandem.node')") == nil)
        }
    }

    @Test("a copy of a node is refused, under its name and under another, alone and beside the original")
    func copy() async throws {
        try await Databases.with([("a", 0)]) { databases in
            _ = try await Initialiser(try databases.configuration("test", "a")).run()
            let original = try #require(ConnectionParameters.parse(databases.conninfo("a"))?["dbname"])
            let copy = "\(original)_copy"
            try await sql(databases.nodes[0].superuserConninfo, "CREATE DATABASE \(copy) TEMPLATE \(original) OWNER tandem")
            let place = databases.nodes[0].conninfo(database: copy)
            let alone = try ClusterConfiguration("test", nodes: [NodeConfiguration("a", conninfo: place)])
            #expect(await refusal(alone)?.code == .identityMismatch)
            let beside = try ClusterConfiguration(
                "test", nodes: [NodeConfiguration("a", conninfo: databases.conninfo("a")), NodeConfiguration("b", conninfo: place)])
            #expect(await refusal(beside)?.code == .identityMismatch)
            let cluster = try Cluster(alone)
            let error = await #expect(throws: TandemError.self) { try await cluster.lookAt("a") }
            #expect(error?.code == .identityMismatch)
        }
    }

    @Test("another cluster's database is refused, and so is one under another node's name")
    func others() async throws {
        try await Databases.with([("a", 0), ("b", 1)]) { databases in
            _ = try await Initialiser(try databases.configuration("test", "a", "b")).run()
            #expect(await refusal(try databases.configuration("other", "a", "b"))?.code == .identityMismatch)
            let swapped = try ClusterConfiguration(
                "test", nodes: [NodeConfiguration("a", conninfo: databases.conninfo("b")), NodeConfiguration("b", conninfo: databases.conninfo("a"))])
            #expect(await refusal(swapped)?.code == .identityMismatch)
        }
    }

    @Test("a name that the cluster has given to another database is not given again")
    func movedName() async throws {
        try await Databases.with([("a", 0), ("b", 1)]) { databases in
            _ = try await Initialiser(try databases.configuration("test", "a", "b")).run()
            try await Databases.with([("b", 2)]) { fresh in
                let configuration = try ClusterConfiguration(
                    "test", nodes: [NodeConfiguration("a", conninfo: databases.conninfo("a")), NodeConfiguration("b", conninfo: fresh.conninfo("b"))])
                #expect(await refusal(configuration)?.code == .identityMismatch)
                #expect(try await sql(fresh.conninfo("b"), "SELECT to_regclass('tandem.node')") == nil)
            }
        }
    }

    @Test("a schema that is newer and still serves this program is taken as it is")
    func servingSchema() async throws {
        try await Databases.with([("a", 0)]) { databases in
            let configuration = try databases.configuration("test", "a")
            _ = try await Initialiser(configuration).run()
            try await sql(
                databases.conninfo("a"), "INSERT INTO tandem.schema_version (version, needs) VALUES (\(CoreSchema.version + 1), \(CoreSchema.version))")
            #expect(try await Initialiser(configuration).run().map(\.isChanged) == [false])
            try await Cluster(configuration).lookAt("a")
        }
    }

    @Test("the first version of the schema is brought up to date in place, also while branches hold its tables, and refused until then")
    func olderSchema() async throws {
        try await Databases.with([("a", 0)]) { databases in
            let configuration = try databases.configuration("test", "a")
            for statement in Initialiser.split(CoreSchema.steps(from: 0)[0].sql) { try await sql(databases.conninfo("a"), statement) }
            try await sql(
                databases.conninfo("a"), "INSERT INTO tandem.schema_version (version) VALUES (1)",
                """
                INSERT INTO tandem.node (cluster, node_id, name, system_identifier, database_oid)
                SELECT 'test', 1, 'a', (SELECT system_identifier FROM pg_control_system()), (SELECT oid FROM pg_database WHERE datname = current_database())
                """, "INSERT INTO tandem.member (node_id, name) VALUES (1, 'a')")
            let cluster = try Cluster(configuration)
            let older = await #expect(throws: TandemError.self) { try await cluster.lookAt("a") }
            #expect(older?.code == .schemaMismatch && older?.nextStep.contains("tandem init") == true)
            let gid = "migration \(UUID())"
            // A branch as the first version wrote it, which is prepared and then finished.
            try await sql(
                databases.conninfo("a"), "BEGIN",
                "INSERT INTO tandem.branch (transaction_id, node, kind) VALUES ('018c0000-0000-7000-8000-000000000001', 1, 'W')",
                "PREPARE TRANSACTION '\(gid)'")
            async let upgraded = Initialiser(configuration).run()
            try await wait(for: "an attempt that met the branch") {
                try await sql(
                    databases.conninfo("a"),
                    "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%ALTER TABLE tandem.branch%' AND datname = current_database() AND wait_event_type = 'Lock'"
                )
                    == "1"
            }
            try await sql(databases.conninfo("a"), "COMMIT PREPARED '\(gid)'")
            let nodes = try await upgraded
            #expect(nodes.map(\.schemaVersion) == [CoreSchema.version] && nodes.map(\.isChanged) == [true])
            try await Cluster(configuration).lookAt("a")
            #expect(try await sql(databases.conninfo("a"), "SELECT kind FROM tandem.branch") == "W")
        }
    }

    @Test("a schema that is newer than this program is refused")
    func newerSchema() async throws {
        try await Databases.with([("a", 0)]) { databases in
            let configuration = try databases.configuration("test", "a")
            _ = try await Initialiser(configuration).run()
            try await sql(databases.conninfo("a"), "INSERT INTO tandem.schema_version (version, needs) VALUES (99, 99)")
            #expect(await refusal(configuration)?.code == .schemaMismatch)
            let cluster = try Cluster(configuration)
            let error = await #expect(throws: TandemError.self) { try await cluster.lookAt("a") }
            #expect(error?.code == .schemaMismatch)
        }
    }

    @Test("uninstalling removes the schema on every node, and what others built upon it stands in the way")
    func uninstall() async throws {
        try await Databases.with([("a", 0), ("b", 1)]) { databases in
            let configuration = try databases.configuration("test", "a", "b")
            _ = try await Initialiser(configuration).run()
            try await sql(databases.conninfo("b"), "CREATE VIEW mine AS SELECT * FROM tandem.member")
            let depends = await #expect(throws: TandemError.self) { try await Initialiser(configuration).uninstall() }
            #expect(depends?.code == .refusedBySafetyRule && depends?.node == "b")
            // Neither of them has changed.
            #expect(try await sql(databases.conninfo("a"), "SELECT count(*) FROM tandem.member") == "2")
            // One that is left out may hold a branch whose decision would go.
            let part = try databases.configuration("test", "a")
            let missing = await #expect(throws: TandemError.self) { try await Initialiser(part).uninstall() }
            #expect(missing?.code == .refusedBySafetyRule && missing?.message.contains("b") == true)
            try await sql(databases.conninfo("b"), "DROP VIEW mine")
            #expect(try await Initialiser(configuration).uninstall().map(\.isRemoved) == [true, true])
            #expect(try await sql(databases.conninfo("a"), "SELECT to_regnamespace('tandem')") == nil)
            #expect(try await Initialiser(configuration).uninstall().map(\.isRemoved) == [false, false])
            #expect(try await Initialiser(configuration).run().map(\.isChanged) == [true, true])
        }
    }

    @Test("uninstalling is refused while a branch is prepared or a transaction holds the register, on whichever node")
    func uninstallUndecided() async throws {
        try await Databases.with([("a", 0), ("b", 1)]) { databases in
            let configuration = try databases.configuration("test", "a", "b")
            _ = try await Initialiser(configuration).run()
            func code() async -> TandemError? { await #expect(throws: TandemError.self) { try await Initialiser(configuration).uninstall() } }
            // As a coordinator leaves it, which holds the register; and one that does not, since it touched nothing of it.
            for (number, statement) in ["INSERT INTO tandem.branch (transaction_id, node) VALUES (gen_random_uuid(), 2)", "SELECT pg_current_xact_id()"]
                .enumerated()
            {
                let gid = "tandem1:test:018c0000-0000-7000-8000-00000000000\(number):2:c1"
                try await sql(databases.conninfo("b"), "BEGIN", statement, "PREPARE TRANSACTION '\(gid)'")
                let error = await code()
                #expect(error?.code == .refusedBySafetyRule && error?.node == "b")
                try await sql(databases.conninfo("b"), "ROLLBACK PREPARED '\(gid)'")
            }
            #expect(try await sql(databases.conninfo("a"), "SELECT count(*) FROM tandem.member") == "2")
        }
    }

    @Test("a node that cannot be reached is named, and no other is changed")
    func unreachable() async throws {
        try await Databases.with([("a", 0)]) { databases in
            let configuration = try ClusterConfiguration(
                "test",
                nodes: [NodeConfiguration("a", conninfo: databases.conninfo("a")), NodeConfiguration("b", conninfo: "host=127.0.0.1 port=1 dbname=x user=x")])
            let error = await refusal(configuration)
            #expect(error?.code == .nodeUnreachable && error?.node == "b")
            #expect(try await sql(databases.conninfo("a"), "SELECT to_regclass('tandem.node')") == nil)
        }
    }
}

@Suite("Identity of a node")
struct IdentityTests {
    @Test("addresses that were swapped resolve nothing")
    func swapped() async throws {
        try await withCluster { test in
            let swapped = try test.another { configuration in
                let first = configuration.nodes[0].conninfo
                configuration.nodes[0].conninfo = configuration.nodes[1].conninfo
                configuration.nodes[1].conninfo = first
            }
            for name: NodeName in ["n1", "n2"] {
                let error = await #expect(throws: TandemError.self) { try await swapped.lookAt(name) }
                #expect(error?.code == .identityMismatch && error?.node == name)
            }
        }
    }

    @Test("another cluster's name resolves nothing")
    func otherCluster() async throws {
        try await withCluster(1) { test in
            let other = try test.another { $0.name = "other" }
            let error = await #expect(throws: TandemError.self) { try await other.lookAt("n1") }
            #expect(error?.code == .identityMismatch)
        }
    }

    @Test("a database without Tandem's tables says that it is not initialised")
    func notInitialised() async throws {
        try await withCluster(1) { test in
            try await test.value("n1", "DROP SCHEMA tandem CASCADE")
            let error = await #expect(throws: TandemError.self) { try await test.another().lookAt("n1") }
            #expect(error?.code == .notInitialised)
        }
    }

    @Test("a node that is not in the configuration is unknown, and the error names those that are")
    func unknown() async throws {
        try await withCluster(1) { test in
            let error = await #expect(throws: TandemError.self) { try await test.cluster.lookAt("n9") }
            #expect(error?.code == .unknownNode && error?.nextStep.contains("n1") == true)
        }
    }

    @Test("a cluster refuses two nodes of one name, none at all, and a connection string that nobody can read")
    func refusedConfigurations() throws {
        let node = NodeConfiguration("n1", conninfo: "host=x")
        for nodes in [[], [node, node]] {
            let error = #expect(throws: TandemError.self) { try ClusterConfiguration("test", nodes: nodes) }
            #expect(error?.code == .configurationInvalid)
        }
        let odd = try ClusterConfiguration("test", nodes: [NodeConfiguration("n1", conninfo: "host=x password='unclosed")])
        let error = #expect(throws: TandemError.self) { try Cluster(odd) }
        #expect(error?.code == .configurationInvalid && error?.node == "n1")
    }
}

extension Cluster {
    /// Asks a node for something over its control connection.
    fileprivate func lookAt(_ name: NodeName) async throws {
        _ = try await runControl(name, Batch([Statement("SELECT 1")]), within: .seconds(30))
    }
}
