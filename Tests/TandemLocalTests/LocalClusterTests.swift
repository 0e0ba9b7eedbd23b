import Foundation
import Glibc
import TandemCore
import Testing

@testable import TandemLocal

@Suite struct LocalClusterTests {
    @Test("three nodes start, are of their own, and serve a role that is no superuser")
    func start() async throws {
        try await withClusterFolder { directory in
            let began = ContinuousClock.now
            let cluster = try await LocalCluster.start(LocalClusterOptions(directory: directory))
            print("three new durable nodes were ready after \(ContinuousClock.now - began)")
            #expect(cluster.isOwner)
            #expect(cluster.nodes.map(\.name) == ["n1", "n2", "n3"])
            #expect(cluster.status().map(\.state) == [.running, .running, .running])

            var identifiers: Set<String> = []
            for node in cluster.nodes {
                try await psql(node.conninfo, "CREATE TABLE account (id int)", "CREATE SCHEMA own")
                #expect(try await psql(node.url, "SELECT count(*) FROM account") == "0")
                #expect(try await psql(node.conninfo, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == "f")
                #expect(try await psql(node.superuserConninfo, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == "t")
                #expect(try await psql(node.conninfo, "SHOW fsync", "SHOW max_prepared_transactions") == "on\n1100")
                identifiers.insert(try await psql(node.superuserConninfo, "SELECT system_identifier FROM pg_control_system()"))
            }
            #expect(identifiers.count == 3)

            try await cluster.stop()
            #expect(cluster.status().map(\.state) == [.stopped, .stopped, .stopped])
            #expect(!cluster.isRunning)
            let again = ContinuousClock.now
            let second = try await LocalCluster.start(LocalClusterOptions(directory: directory))
            print("three known nodes were ready after \(ContinuousClock.now - again)")
            #expect(second.nodes.map(\.port) == cluster.nodes.map(\.port))
            #expect(try await psql(second.nodes[0].conninfo, "SELECT count(*) FROM account") == "0")
            try await second.stop()
        }
    }

    @Test("a wrong password is refused, over TCP and over the socket")
    func passwords() async throws {
        try await withClusterFolder { directory in
            let cluster = try await LocalCluster.start(LocalClusterOptions(directory: directory, nodeCount: 1, isEphemeral: true))
            let node = cluster.nodes[0]
            for host in ["127.0.0.1", node.socketDirectory] {
                for user in ["tandem", "postgres"] {
                    let conninfo = "host=\(host) port=\(node.port) dbname=tandem user=\(user) password=wrong"
                    #expect(try await psqlStatus(conninfo, ["SELECT 1"]).status == 2)
                }
            }
            var information = stat()
            #expect(stat(node.passfile, &information) == 0 && information.st_mode & 0o777 == 0o600)
            try await cluster.stop()
        }
    }

    @Test("a killed node keeps its prepared transaction when it is started again")
    func killAndStart() async throws {
        try await withClusterFolder { directory in
            let cluster = try await LocalCluster.start(LocalClusterOptions(directory: directory, nodeCount: 2, isEphemeral: true))
            let node = cluster.nodes[0]
            try await psql(node.conninfo, "CREATE TABLE account (id int)")
            try await psql(node.conninfo, "BEGIN", "INSERT INTO account VALUES (1)", "PREPARE TRANSACTION 'kept'")
            for _ in 1...3 {
                try await cluster.kill("n1")
                #expect(cluster.status().map(\.state) == [.stopped, .running])
                try await cluster.start("n1")
                #expect(try await psql(node.conninfo, "SELECT gid FROM pg_prepared_xacts") == "kept")
            }
            try await cluster.start("n1")  // does nothing: it runs
            try await psql(node.conninfo, "COMMIT PREPARED 'kept'")
            #expect(try await psql(node.conninfo, "SELECT id FROM account") == "1")
            try await cluster.stop()
        }
    }

    @Test("a paused node does not answer until it is resumed, and can be killed and stopped meanwhile")
    func pause() async throws {
        try await withClusterFolder { directory in
            let cluster = try await LocalCluster.start(LocalClusterOptions(directory: directory, nodeCount: 2, isEphemeral: true))
            try await cluster.pause("n1")
            #expect(cluster.status().map(\.state) == [.paused, .running])
            let process = try #require(cluster.status()[0].processID)
            #expect(isStopped(process))
            try cluster.resume("n1")
            #expect(try await psql(cluster.nodes[0].conninfo, "SELECT 1") == "1")

            try await cluster.pause("n1")
            try await cluster.kill("n1")
            try await cluster.start("n1")
            #expect(try await psql(cluster.nodes[0].conninfo, "SELECT 1") == "1")
            try await cluster.pause("n2")
            try await cluster.stop()
            #expect(cluster.status().map(\.state) == [.stopped, .stopped])
        }
    }

    @Test("a restart takes new settings and keeps the earlier ones")
    func restart() async throws {
        try await withClusterFolder { directory in
            let options = LocalClusterOptions(directory: directory, nodeCount: 1, isEphemeral: true, settings: ["work_mem": "7MB"])
            let cluster = try await LocalCluster.start(options)
            try await cluster.restart("n1", settings: ["max_prepared_transactions": "0", "application_name": #"it's \ "a" test"#])
            #expect(try await psql(cluster.nodes[0].conninfo, "SHOW max_prepared_transactions") == "0")
            #expect(try await psql(cluster.nodes[0].conninfo, "SHOW work_mem") == "7MB")
            try await cluster.stop()
        }
    }

    @Test("a wrong setting is told with the server's words and leaves nothing behind")
    func wrongSetting() async throws {
        try await withClusterFolder { directory in
            let options = LocalClusterOptions(directory: directory, nodeCount: 1, settings: ["work_mem": "much"])
            let error = await #expect(throws: TandemError.self) { try await LocalCluster.start(options) }
            #expect(error?.code == .localNodeFailed)
            #expect(error?.node == "n1")
            #expect(error?.message.contains("work_mem") == true, "\(error?.message ?? "")")
            #expect(try ClusterRecord.read(directory) == nil)
            let right = try await LocalCluster.start(LocalClusterOptions(directory: directory, nodeCount: 1))
            try await right.stop()
        }
    }

    @Test("a missing PostgreSQL, an unknown node and a folder without a cluster are told apart")
    func mistakes() async throws {
        try await withClusterFolder { directory in
            var options = LocalClusterOptions(directory: directory, nodeCount: 1)
            options.postgresBin = "/usr/share"
            let missing = await #expect(throws: TandemError.self) { try await LocalCluster.start(options) }
            #expect(missing?.code == .localNodeFailed)
            let nothing = await #expect(throws: TandemError.self) { try await LocalCluster.attach(directory: directory) }
            #expect(nothing?.code == .notFound)
            let cluster = try await LocalCluster.start(LocalClusterOptions(directory: directory, nodeCount: 1))
            let unknown = await #expect(throws: TandemError.self) { try await cluster.kill("n9") }
            #expect(unknown?.code == .unknownNode)
            let other = await #expect(throws: TandemError.self) {
                try await LocalCluster.start(LocalClusterOptions(directory: directory, nodeCount: 2))
            }
            #expect(other?.nextStep.contains("reset") == true)
            try await cluster.stop()
        }
    }

    @Test("an ephemeral cluster leaves nothing, neither data nor its folder")
    func ephemeral() async throws {
        try await withClusterFolder { directory in
            let began = ContinuousClock.now
            let options = LocalClusterOptions(directory: directory, isEphemeral: true)
            let cluster = try await LocalCluster.start(options)
            print("three ephemeral nodes were ready after \(ContinuousClock.now - began)")
            let base = try #require(try ClusterRecord.read(directory)).base
            #expect(access(base, F_OK) == 0)
            #expect(try await psql(cluster.nodes[2].conninfo, "SELECT 1") == "1")
            try await cluster.stop()
            #expect(access(base, F_OK) != 0)
            #expect(access(directory, F_OK) != 0)
        }
    }

    @Test("data that the servers' account cannot reach goes to /var/tmp, and a long folder's socket elsewhere")
    func unreachable() async throws {
        let root = "/var/tmp/tandem-local-closed-\(UUID().uuidString.lowercased())"
        mkdir(root, 0o700)
        defer { rmdir(root) }
        let directory = "\(root)/a folder's \"name\" \(String(repeating: "x", count: 60))"
        let cluster = try await LocalCluster.start(LocalClusterOptions(directory: directory, nodeCount: 1))
        let record = try #require(try ClusterRecord.read(directory))
        #expect(record.base.hasPrefix(geteuid() == 0 ? "/var/tmp/tandem-dev-" : directory))
        #expect(try await psql(cluster.nodes[0].conninfo, "SELECT 1") == "1")
        #expect(try await psql(cluster.nodes[0].superuserConninfo, "SELECT 1") == "1")
        // The folder is removed by hand, and made anew: where the data lies elsewhere, it is replaced.
        try FileManager.default.removeItem(atPath: directory)
        let second = try await LocalCluster.start(LocalClusterOptions(directory: directory, nodeCount: 1))
        #expect(try await psql(second.nodes[0].conninfo, "SELECT 1") == "1")
        try await second.stop()
        try await LocalCluster.reset(directory: directory)
        for path in [record.base, record.socketDirectory, directory] { #expect(access(path, F_OK) != 0) }
    }

    @Test("a second start attaches to the first, and what it stops is stopped for both")
    func attach() async throws {
        try await withClusterFolder { directory in
            let options = LocalClusterOptions(directory: directory, nodeCount: 2)
            async let one = LocalCluster.start(options)
            async let other = LocalCluster.start(options)
            let both = try await [one, other]
            #expect(both.count { $0.isOwner } == 1)
            #expect(both[0].nodes.map(\.url) == both[1].nodes.map(\.url))
            let guest = try #require(both.first { !$0.isOwner })
            let owner = try #require(both.first { $0.isOwner })
            try await guest.kill("n2")
            try await guest.start("n2")
            #expect(try await psql(owner.nodes[1].conninfo, "SELECT 1") == "1")
            try await guest.stop()
            #expect(!owner.isRunning)

            let next = try await LocalCluster.start(options)
            #expect(next.isOwner)
            try await owner.stop()  // of a run that is over: leaves the next one alone
            #expect(next.status().map(\.state) == [.running, .running])
            await #expect(throws: TandemError.self) { try await owner.start("n1") }
            try await next.stop()
        }
    }

    @Test("a folder that bears a node's name without being one is refused and kept")
    func foreignFolder() async throws {
        try await withClusterFolder { directory in
            let path = "\(directory)/n1"
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
            defer { rmdir(path) }
            await #expect(throws: TandemError.self) { try await LocalCluster.start(LocalClusterOptions(directory: directory)) }
            #expect(access(path, F_OK) == 0)
        }
    }

    @Test("a cancelled start leaves nothing behind")
    func cancellation() async throws {
        try await withClusterFolder { directory in
            let task = Task { try await LocalCluster.start(LocalClusterOptions(directory: directory, nodeCount: 1)) }
            let isAtWork = try await poll(within: .seconds(60)) { access("\(directory)/n1/data/PG_VERSION", F_OK) == 0 }
            #expect(isAtWork)
            task.cancel()
            await #expect(throws: CancellationError.self) { _ = try await task.value }
            #expect(try ClusterRecord.read(directory) == nil)
        }
    }
}
