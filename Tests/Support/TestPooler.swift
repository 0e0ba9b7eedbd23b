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
    private let process = Mutex<ChildProcess?>(nil)

    private let lines: [NodeName: String]
    private let settings: [String]

    private init(port: Int, folder: URL, program: String, lines: [NodeName: String], settings: [String]) {
        self.lines = lines
        self.settings = settings
        self.port = port
        self.folder = folder
        self.program = program
    }

    /// Where a client finds a node.
    package func conninfo(_ node: NodeName) -> String { "host=127.0.0.1 port=\(port) dbname='\(node)' user=tandem" }

    /// Starts it with settings beside its own; fails where it is not installed.
    static func start(for test: TestCluster, settings: [String]) async throws -> TestPooler {
        guard let program = programs.first(where: { access($0, X_OK) == 0 }) else {
            throw TestFailure("PgBouncer is not installed: run scripts/bootstrap --tests")
        }
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("tandem-pooler-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        var lines: [NodeName: String] = [:]
        for node in test.configuration.nodes {
            let local = try test.local.node(node.name)
            // host:port:database:user:password
            let line = try String(contentsOfFile: local.passfile, encoding: .utf8).split(separator: "\n").first {
                $0.contains(":tandem:") || $0.contains(":*:")
            }
            let password = line.flatMap { $0.split(separator: ":", omittingEmptySubsequences: false).last } ?? ""
            lines[node.name] = "host=127.0.0.1 port=\(local.port) dbname=\(test.database) user=tandem password=\(password)"
        }
        let pooler = TestPooler(port: try FreePort.find(), folder: folder, program: program, lines: lines, settings: settings)
        try pooler.write(lines)
        // It does not run as root; whoever it runs as reads the file.
        chmod(folder.path, 0o755)
        try await pooler.run()
        return pooler
    }

    private func write(_ lines: [NodeName: String]) throws {
        let text =
            ["[databases]"] + lines.map { "\($0) = \($1)" } + [
                "[pgbouncer]", "listen_addr = 127.0.0.1", "listen_port = \(port)", "unix_socket_dir =", "auth_type = any", "pool_mode = transaction",
                "default_pool_size = \(Self.sessions)", "max_client_conn = 500",
            ] + settings
        let file = folder.appendingPathComponent("pgbouncer.ini")
        try text.joined(separator: "\n").write(to: file, atomically: true, encoding: .utf8)
        chmod(file.path, 0o644)
    }

    /// Leads the clients of one node to another one, as a wrong address or a failover script would; its clients stay connected.
    ///
    /// - Parameters:
    ///   - node: whose clients.
    ///   - other: where they are led; to where they belong where it is the same node.
    /// - Throws: what writing its file throws.
    package func redirect(_ node: NodeName, to other: NodeName) throws {
        var lines = lines
        lines[node] = self.lines[other]
        try write(lines)
        guard let process = process.withLock({ $0 }) else { return }
        // runuser hands no signal on.
        let children = children(of: process.processID)
        for child in children.isEmpty ? [process.processID] : children { Glibc.kill(child, SIGHUP) }
    }

    /// Starts the process, and waits until it takes connections.
    package func run() async throws {
        // Foundation's own would leave it signals blocked, and it reads its file again when it is told by one.
        let process = try ChildProcess.spawn((geteuid() == 0 ? ["/usr/sbin/runuser", "-u", "nobody", "--"] : []) + [program, "\(folder.path)/pgbouncer.ini"])
        self.process.withLock { $0 = process }
        try await wait(for: "PgBouncer") { [port] in canConnect(port) }
    }

    /// Kills the process at once, with every connection.
    package func kill() async throws {
        guard let process = process.withLock({ $0 }) else { return }
        // runuser waits for its child, so the child is told.
        for child in children(of: process.processID) + [process.processID] { Glibc.kill(child, SIGKILL) }
        _ = try await process.status(within: .seconds(10))
        try await wait(for: "the end of PgBouncer") { [port] in !canConnect(port) }
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
    try await withCluster(count) { test in try await withPooler(for: test, settings: settings, change) { try await body(test, $0, $1) } }
}

/// Puts a pooler in transaction mode in front of a test's nodes; `body` gets a cluster whose nodes are behind it.
package func withPooler<Value>(
    for test: TestCluster, settings: [String] = [], _ change: (inout ClusterConfiguration) -> Void = { _ in },
    _ body: (Cluster, TestPooler) async throws -> Value
) async throws -> Value {
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
        let value = try await body(cluster, pooler)
        await pooler.remove()
        return value
    } catch {
        await pooler.remove()
        throw error
    }
}
