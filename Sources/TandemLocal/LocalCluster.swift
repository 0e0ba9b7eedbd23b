import Foundation
import Glibc
public import TandemCore

/// Real PostgreSQL servers on this machine, for development, tests and demonstrations.
///
/// The servers end with the process that started them, also when that one is killed: a supervisor process waits for the end of a pipe from
/// it. With `isDetached` they go on. Either way any process can `attach` to the folder, and end and start single servers. Not for production:
/// everything runs on one machine, and the passwords lie in the cluster's folder.
public final class LocalCluster: Sendable {
    /// The cluster's folder.
    public let directory: String
    /// The nodes, in order.
    public let nodes: [LocalNode]
    /// Whether this object started the servers; otherwise it is attached to those of another start.
    public let isOwner: Bool

    private let record: ClusterRecord
    private let supervisor: Supervisor?

    init(directory: String, record: ClusterRecord, supervisor: Supervisor?, isOwner: Bool) {
        self.directory = directory
        self.record = record
        self.supervisor = supervisor
        self.isOwner = isOwner
        nodes = record.nodes.map { record.localNode($0, directory: directory) }
    }

    /// Starts the servers, after initialising those that are new, and returns when all accept connections. If the cluster of the folder
    /// already runs, this attaches to it. Throws `localNodeFailed`, or `CancellationError`; no server that it started is then left.
    ///
    /// Keep the object as long as the servers are needed: unless they are detached, they also end with it.
    public static func start(_ options: LocalClusterOptions) async throws -> LocalCluster {
        try await ClusterStart(options).perform()
    }

    /// Finds the running cluster of a folder. Throws `notFound` if none runs there.
    public static func attach(directory: String) async throws -> LocalCluster {
        let path = absolutePath(directory)
        guard let record = try ClusterRecord.read(path), record.isRunning(path) else {
            throw TandemError(.notFound, "no local cluster runs in \(path)", nextStep: "Start one: tandem dev --dir \(path)")
        }
        return LocalCluster(directory: path, record: record, supervisor: nil, isOwner: false)
    }

    /// Stops the cluster of a folder if it runs, and removes its data.
    public static func reset(directory: String) async throws {
        let path = absolutePath(directory)
        guard access(path, F_OK) == 0 else { return }
        try await uncancelled {
            let lock = try await DirectoryLock.take(ClusterFiles(path).lock, within: ClusterStart.lockLimit)
            if let record = try ClusterRecord.read(path) {
                try await record.end(path)
                try record.removeData(path)
            }
            unlink(ClusterFiles(path).lock)
            rmdir(path)
            _ = consume lock
        }
    }

    /// Stops the servers in order, and removes the data of an ephemeral cluster. Attached or owner, it ends them for everybody; a cluster that
    /// was started anew in the meantime is left alone. Runs to its end also in a cancelled task.
    public func stop() async throws {
        try await uncancelled { [self] in
            guard access(directory, F_OK) == 0 else { return }
            let lock = try await DirectoryLock.take(ClusterFiles(directory).lock, within: ClusterStart.lockLimit)
            if isRunning {
                try await record.end(directory)
                if record.isEphemeral { try record.removeData(directory) }
            } else {
                // Its owner was killed just now, and the supervisor may still be stopping the servers.
                _ = try await poll(within: NodeFolder.limit) { !record.isEnding() }
            }
            await supervisor?.end()
            if record.isEphemeral, access(ClusterFiles(directory).record, F_OK) != 0 {
                unlink(ClusterFiles(directory).lock)
                rmdir(directory)
            }
            _ = consume lock
        }
    }

    /// Whether this run of the cluster still goes on; false after a `stop` by whomever, or the end of its owner.
    public var isRunning: Bool {
        guard let run = record.run else { return false }
        return access(ClusterFiles(directory).running(run), F_OK) == 0
    }

    /// What each node is doing right now.
    public func status() -> [LocalNodeStatus] {
        record.folders.map { $0.status() }
    }

    /// The node of that name. Throws `unknownNode`.
    public func node(_ name: NodeName) throws -> LocalNode {
        guard let node = nodes.first(where: { $0.name == name }) else {
            throw TandemError(.unknownNode, "the local cluster has no node \(name)", node: name, nextStep: "Its nodes: \(nodeList).")
        }
        return node
    }

    /// Ends all processes of a node with SIGKILL, as a crash of its machine would, and returns when they are gone.
    public func kill(_ name: NodeName) async throws {
        try await folder(name).kill()
    }

    /// Stops all processes of a node with SIGSTOP: its connections stay open and hang.
    public func pause(_ name: NodeName) async throws {
        try await folder(name).pause()
    }

    /// Lets a paused node go on.
    public func resume(_ name: NodeName) throws {
        try folder(name).resume()
    }

    /// Starts a node again that was killed or stopped, on its port and with its data; does nothing if it already runs.
    public func start(_ name: NodeName) async throws {
        try await start(name, stoppingFirst: false, settings: [:])
    }

    /// Stops a node in order and starts it, with these server settings on top of its earlier ones.
    public func restart(_ name: NodeName, settings: [String: String] = [:]) async throws {
        try await start(name, stoppingFirst: true, settings: settings)
    }

    /// Makes a node a standby of another one, which streams everything from it, and forgets what was on it before.
    ///
    /// Asynchronous unless the primary's `synchronous_standby_names` says otherwise. It becomes a primary by `SELECT pg_promote()`.
    ///
    /// - Parameters:
    ///   - name: the node that becomes the standby.
    ///   - primary: the node that it follows; it runs, with `wal_level` at least `replica`.
    /// - Throws: `localNodeFailed`, `unknownNode`; `CancellationError`.
    package func makeStandby(_ name: NodeName, of primary: NodeName) async throws {
        let folder = try folder(name), source = try node(primary)
        let account = try ServerAccount(user: record.user)
        try await folder.kill()
        try FileManager.default.removeItem(atPath: folder.data)
        try makeFolder(folder.data, mode: 0o700, owner: account)
        let conninfo = "host=127.0.0.1 port=\(source.port) user=\(LocalNode.superuser) sslmode=disable gssencmode=disable"
        _ = try await ProgramOutput.of(
            account.prefix + [
                "\(record.postgresBin)/pg_basebackup", "--dbname=\(conninfo)", "--pgdata=\(folder.data)", "--write-recovery-conf", "--wal-method=stream",
                "--checkpoint=fast", "--no-sync",
            ], environment: ["PGPASSWORD=\(record.superuserPassword)"], within: NodeFolder.limit)
        try await start(name)
    }

    private func start(_ name: NodeName, stoppingFirst: Bool, settings: [String: String]) async throws {
        let folder = try folder(name)
        let lock = try await DirectoryLock.take(ClusterFiles(directory).lock, within: ClusterStart.lockLimit)
        guard let run = record.run, isRunning, var current = try ClusterRecord.read(directory),
            let index = current.nodes.firstIndex(where: { $0.name == name })
        else {
            throw TandemError(
                .localNodeFailed, "the local cluster has been stopped", node: name, nextStep: "Start it: tandem dev --dir \(directory)")
        }
        if stoppingFirst {
            try await folder.stop(isKept: true)
        } else if folder.isReady {
            folder.resume()
            return
        }
        current.nodes[index].settings.merge(settings) { $1 }
        let binaries = PostgresBinaries(directory: current.postgresBin)
        let account = try ServerAccount(user: current.user)
        try await folder.start(
            ServerLaunch(
                binaries: binaries, account: account, port: current.nodes[index].port, socketDirectory: current.socketDirectory,
                settings: current.nodes[index].settings, running: ClusterFiles(directory).running(run)))
        try current.write(directory)
        _ = consume lock
    }

    private func folder(_ name: NodeName) throws -> NodeFolder {
        record.folder(of: try node(name).name)
    }

    private var nodeList: String { nodes.map(\.name.rawValue).joined(separator: ", ") }
}

/// Runs to its end and answers whether or not the calling task is cancelled: servers that are being stopped must not be left half stopped. The
/// caller waits for it, so nothing goes on behind its back.
func uncancelled<Value: Sendable>(_ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
    try await Task { try await body() }.value
}

/// The path from the root on, without `.`, `..` and doubled slashes.
func absolutePath(_ path: String) -> String {
    let start = path.hasPrefix("/") ? path : "\(FileManager.default.currentDirectoryPath)/\(path)"
    return URL(fileURLWithPath: start).standardizedFileURL.path
}
