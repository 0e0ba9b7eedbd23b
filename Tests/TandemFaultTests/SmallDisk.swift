import Foundation
import Glibc
import TandemCluster
import TandemCore
import TandemLocal
import TandemTestKit
import TandemTestSupport

/// Two nodes, the first of which lies on a disk of its own that can be filled: a file system in memory. Only root can make one.
struct SmallDisk: Sendable {
    static var isPossible: Bool {
        guard geteuid() == 0 else { return false }
        let path = "\(NSTemporaryDirectory())/tandem-disk-probe-\(getpid())"
        guard mkdir(path, 0o755) == 0 else { return false }
        defer { rmdir(path) }
        guard mount("tmpfs", path, "tmpfs", 0, "size=1m") == 0 else { return false }
        return umount(path) == 0
    }

    private static let megabytes = 320

    let cluster: Cluster
    private let path: String
    private let local: LocalCluster
    private let other: LocalCluster

    /// Gives the body one; the node on the small disk is the commit point where `isCommitPoint` says so.
    static func with(isCommitPoint: Bool, _ body: @Sendable (SmallDisk) async throws -> Void) async throws {
        let path = "\(NSTemporaryDirectory())/tandem-disk-\(UUID().uuidString.prefix(8))"
        mkdir(path, 0o755)
        guard mount("tmpfs", path, "tmpfs", 0, "size=\(megabytes)m,mode=755") == 0 else { throw TestFailure("no file system could be mounted") }
        do {
            try await withServers(path, isCommitPoint, body)
            umount2(path, Int32(MNT_DETACH))
            rmdir(path)
        } catch {
            umount2(path, Int32(MNT_DETACH))
            rmdir(path)
            throw error
        }
    }

    private static func withServers(_ path: String, _ isCommitPoint: Bool, _ body: @Sendable (SmallDisk) async throws -> Void) async throws {
        var options = LocalClusterOptions(directory: "\(path)/nodes")
        options.names = ["n1"]
        options.maxPreparedTransactions = 20
        options.settings = ["shared_buffers": "16MB", "max_wal_size": "64MB", "min_wal_size": "32MB", "restart_after_crash": "off"]
        let local = try await LocalCluster.start(options)
        do {
            var others = LocalClusterOptions(directory: "\(path)-other")
            others.names = ["n2"]
            others.fsync = false
            try await withLocalServers(others) { other in
                var configuration = try ClusterConfiguration(
                    "test", nodes: [NodeConfiguration("n1", conninfo: local.nodes[0].conninfo), NodeConfiguration("n2", conninfo: other.nodes[0].conninfo)])
                configuration.nodes[isCommitPoint ? 0 : 1].commitPointStrength = 1
                _ = try await Initialiser(configuration).run()
                for node in [local.nodes[0], other.nodes[0]] {
                    try await sql(
                        node.conninfo, "CREATE TABLE account (id int PRIMARY KEY, balance int NOT NULL)", "INSERT INTO account VALUES (1, 1000)",
                        "CREATE TABLE filler (text text)")
                }
                let cluster = try Cluster(configuration)
                defer { cluster.close() }
                try await body(SmallDisk(cluster: cluster, path: path, local: local, other: other))
            }
            try await local.stop()
        } catch {
            try? await local.stop()
            throw error
        }
    }

    private var ballast: String { "\(path)/ballast" }

    /// Leaves no room on the disk.
    func fill() throws {
        let descriptor = open(ballast, O_WRONLY | O_CREAT | O_CLOEXEC, 0o600)
        defer { close(descriptor) }
        let block = [UInt8](repeating: 0, count: 1 << 16)
        while block.withUnsafeBytes({ write(descriptor, $0.baseAddress, $0.count) }) > 0 {}
    }

    func empty() { unlink(ballast) }

    /// Makes the server want another segment of its log, for which there is no room: it panics.
    func panic() async throws {
        try await wait(for: "the panic") {
            _ = try? await sql(local.nodes[0].superuserConninfo, "SELECT pg_logical_emit_message(false, 'x', repeat('x', 100000)) FROM generate_series(1, 200)")
            return local.status()[0].state != .running
        }
    }

    /// Brings the server back.
    func restart() async throws {
        try? await local.kill("n1")
        try await local.start("n1")
    }

    func balance(_ node: NodeName) async throws -> String? {
        try await sql(node == "n1" ? local.nodes[0].conninfo : other.nodes[0].conninfo, "SELECT balance FROM account WHERE id = 1")
    }

    func prepared() async throws -> Int {
        var sum = 0
        for node in [local.nodes[0], other.nodes[0]] { sum += Int(try await sql(node.conninfo, "SELECT count(*) FROM pg_prepared_xacts") ?? "") ?? 0 }
        return sum
    }
}
