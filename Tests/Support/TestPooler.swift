import Foundation
import Glibc
import Synchronization
package import TandemCluster
package import TandemCore
import TandemLocal

/// PgBouncer in transaction mode in front of a test's nodes, with few sessions for many clients, so that each session has many owners.
package final class TestPooler: Sendable {
    /// The sessions that it has with each node.
    package static let sessions = 3

    private static let programs = ["/usr/sbin/pgbouncer", "/usr/bin/pgbouncer", "/usr/local/bin/pgbouncer"]

    private let port: Int
    private let folder: URL
    private let program: String
    private let process = Mutex<Process?>(nil)

    private init(port: Int, folder: URL, program: String) {
        self.port = port
        self.folder = folder
        self.program = program
    }

    /// Where a client finds a node.
    package func conninfo(_ node: NodeName) -> String { "host=127.0.0.1 port=\(port) dbname='\(node)' user=tandem" }

    /// Starts it with settings beside its own; fails where it is not installed.
    static func start(for test: TestCluster, settings: [String]) async throws -> TestPooler {
        guard let program = programs.first(where: { access($0, X_OK) == 0 }) else {
            throw TestFailure("PgBouncer is not installed: run scripts/bootstrap")
        }
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("tandem-pooler-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let pooler = TestPooler(port: try FreePort.find(), folder: folder, program: program)
        let databases = try test.configuration.nodes.map { node in
            let local = try test.local.node(node.name)
            // host:port:database:user:password
            let line = try String(contentsOfFile: local.passfile, encoding: .utf8).split(separator: "\n").first {
                $0.contains(":tandem:") || $0.contains(":*:")
            }
            let password = line.flatMap { $0.split(separator: ":", omittingEmptySubsequences: false).last } ?? ""
            return "\(node.name) = host=127.0.0.1 port=\(local.port) dbname=\(test.database) user=tandem password=\(password)"
        }
        let text =
            ["[databases]"] + databases + [
                "[pgbouncer]", "listen_addr = 127.0.0.1", "listen_port = \(pooler.port)", "unix_socket_dir =", "auth_type = any", "pool_mode = transaction",
                "default_pool_size = \(sessions)", "max_client_conn = 500",
            ] + settings
        try text.joined(separator: "\n").write(to: folder.appendingPathComponent("pgbouncer.ini"), atomically: true, encoding: .utf8)
        // It does not run as root; whoever it runs as reads the file.
        chmod(folder.path, 0o755)
        chmod(folder.appendingPathComponent("pgbouncer.ini").path, 0o644)
        try await pooler.run()
        return pooler
    }

    /// Starts the process, and waits until it takes connections.
    package func run() async throws {
        let process = Process()
        let isRoot = geteuid() == 0
        process.executableURL = URL(filePath: isRoot ? "/usr/sbin/runuser" : program)
        process.arguments = (isRoot ? ["-u", "nobody", "--", program] : []) + ["\(folder.path)/pgbouncer.ini"]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        self.process.withLock { $0 = process }
        try await wait(for: "PgBouncer") { [port] in
            guard process.isRunning else { throw TestFailure("PgBouncer has ended at once") }
            return canConnect(port)
        }
    }

    /// Kills the process at once, with every connection.
    package func kill() async throws {
        guard let process = process.withLock({ $0 }) else { return }
        // runuser waits for its child, so the child is told.
        for child in children(of: process.processIdentifier) + [process.processIdentifier] { Glibc.kill(child, SIGKILL) }
        try await wait(for: "the end of PgBouncer") { [port] in !process.isRunning && !canConnect(port) }
        self.process.withLock { $0 = nil }
    }

    func remove() async {
        try? await kill()
        try? FileManager.default.removeItem(at: folder)
    }
}

private func canConnect(_ port: Int) -> Bool {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
    defer { close(descriptor) }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = in_addr_t(0x7f00_0001).bigEndian
    return withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0 }
    }
}

private func children(of process: pid_t) -> [pid_t] {
    let text = try? String(contentsOfFile: "/proc/\(process)/task/\(process)/children", encoding: .utf8)
    return text?.split(separator: " ").compactMap { pid_t($0) } ?? []
}

/// As ``withCluster(_:on:_:_:)``, with a cluster whose nodes are behind a pooler in transaction mode; `body` gets that, and the nodes themselves.
package func withPooledCluster<Value>(
    _ count: Int = 2, settings: [String] = [], _ change: (inout ClusterConfiguration) -> Void = { _ in },
    _ body: (TestCluster, Cluster, TestPooler) async throws -> Value
) async throws -> Value {
    try await withCluster(count) { test in
        let pooler = try await TestPooler.start(for: test, settings: settings)
        do {
            let cluster = try test.another { configuration in
                for index in configuration.nodes.indices {
                    configuration.nodes[index].conninfo = pooler.conninfo(configuration.nodes[index].name)
                    configuration.nodes[index].pooler = .transaction
                }
                change(&configuration)
            }
            defer { cluster.close() }
            let value = try await body(test, cluster, pooler)
            await pooler.remove()
            return value
        } catch {
            await pooler.remove()
            throw error
        }
    }
}
