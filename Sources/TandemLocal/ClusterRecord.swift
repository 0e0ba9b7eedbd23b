import Foundation
import Glibc
import TandemCore

/// What `cluster.json` remembers of a cluster, from one run to the next. It holds passwords and is readable only by its owner.
struct ClusterRecord: Codable, Sendable {
    struct Node: Codable, Sendable {
        let name: NodeName
        var port: Int
        var settings: [String: String]
    }

    /// One run of the cluster: from a start to the stop.
    struct Run: Codable, Sendable {
        let token: String
        let isDetached: Bool
        let owner: ProcessIdentity?
        var supervisor: ProcessIdentity?
        /// Whether the start came to its end: every node is complete and was ready.
        var isReady = false
    }

    /// Where the nodes' folders are.
    let base: String
    let socketDirectory: String
    let isEphemeral: Bool
    let user: String
    var postgresBin: String
    let database: String
    let password: String
    let superuserPassword: String
    var nodes: [Node]
    var run: Run?

    static func read(_ directory: String) throws -> ClusterRecord? {
        let path = ClusterFiles(directory).record
        guard let data = FileManager.default.contents(atPath: path) else {
            guard access(path, F_OK) != 0 else {
                throw TandemError(
                    .localNodeFailed, "\(path) cannot be read: \(lastSystemError())", nextStep: "Run this as the account that owns it.")
            }
            return nil
        }
        do {
            return try JSONDecoder().decode(ClusterRecord.self, from: data)
        } catch {
            throw TandemError(
                .localNodeFailed, "\(path) is not a description of a local cluster",
                nextStep: "Use another folder, or remove this one if nothing in it is needed.", cause: error)
        }
    }

    func write(_ directory: String) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        let files = ClusterFiles(directory)
        try writePrivately(encoder.encode(self), to: files.record)
        let lines = nodes.map { "*:\($0.port):*:\(database):\(password)\n*:\($0.port):*:\(LocalNode.superuser):\(superuserPassword)\n" }
        try writePrivately(Data(lines.joined().utf8), to: files.passwords)
    }

    func folder(of node: NodeName) -> NodeFolder { NodeFolder(name: node, path: "\(base)/\(node)") }

    var folders: [NodeFolder] { nodes.map { folder(of: $0.name) } }

    func localNode(_ node: Node, directory: String) -> LocalNode {
        let folder = folder(of: node.name)
        return LocalNode(
            name: node.name, port: node.port, database: database, user: database, password: password,
            passfile: ClusterFiles(directory).passwords, dataDirectory: folder.data, socketDirectory: socketDirectory, logFile: folder.log)
    }
}

/// The files in a cluster's own folder.
struct ClusterFiles: Sendable {
    let directory: String

    init(_ directory: String) { self.directory = directory }

    var record: String { "\(directory)/cluster.json" }
    var passwords: String { "\(directory)/passfile" }
    var lock: String { "\(directory)/lock" }
    func running(_ run: ClusterRecord.Run) -> String { "\(directory)/running-\(run.token)" }

    static let reserved: Set<String> = ["cluster.json", "passfile", "lock", "socket", "tandem.yaml"]
}

/// Replaces a file, readable by its owner alone from the first byte on; a reader sees the old one or the new one.
func writePrivately(_ data: Data, to path: String) throws {
    let draft = "\(path).draft"
    unlink(draft)
    let descriptor = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw TandemError(.localNodeFailed, "\(draft) cannot be written: \(lastSystemError())") }
    let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    do {
        try file.write(contentsOf: data)
        try file.close()
    } catch {
        throw TandemError(
            .localNodeFailed, "\(draft) cannot be written: \(error)", nextStep: "See whether the disk is full: df -h", cause: error)
    }
    guard rename(draft, path) == 0 else { throw TandemError(.localNodeFailed, "\(path) cannot be written: \(lastSystemError())") }
}
