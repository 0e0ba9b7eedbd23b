import Foundation
import Glibc
import TandemCluster
import TandemConfiguration
import TandemCore
import TandemLocal

/// The `tandem.yaml` that `tandem dev` writes beside the nodes.
struct DevConfiguration: Sendable {
    /// The first line of a file that is ours to write and to remove; somebody's own file of that name stays.
    private static let mark = "# Written by `tandem dev` at each start: changes are lost."

    let directory: String

    var path: String { "\(directory)/tandem.yaml" }

    /// Refuses a folder in which somebody else's configuration lies.
    func check() throws {
        guard let text = present, !text.hasPrefix(Self.mark) else { return }
        throw TandemError(
            .refusedBySafetyRule, "\(path) was not written by `tandem dev` and would be lost",
            nextStep: "use another folder: tandem dev --dir FOLDER")
    }

    private var present: String? { FileManager.default.contents(atPath: path).map { String(decoding: $0, as: UTF8.self) } }

    /// Whether the file says how to reach exactly these nodes; it is written once they are initialised, so then they are.
    func describes(_ cluster: LocalCluster) -> Bool { present == Self.text(cluster) }

    /// Writes the file in one step: a reader sees the old one or the new one.
    func write(_ cluster: LocalCluster) throws {
        do {
            try Data(Self.text(cluster).utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch {
            throw TandemError(
                .localNodeFailed, "\(path) cannot be written", nextStep: "choose a folder that you may write to", cause: error)
        }
    }

    /// Removes the file.
    func remove() throws {
        try check()
        guard unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR else {
            throw TandemError(
                .localNodeFailed, "\(path) cannot be removed: \(String(cString: strerror(errno)))", nextStep: "remove it by hand")
        }
    }

    /// Stops the nodes. Where their data goes with them, so does the file.
    func stop(_ cluster: LocalCluster) async throws {
        try await cluster.stop()
        guard access("\(directory)/cluster.json", F_OK) != 0 else { return }
        try remove()
        rmdir(directory)
    }

    private static func text(_ cluster: LocalCluster) -> String {
        let nodes = cluster.nodes.map { node in
            // In double quotes YAML knows JSON's escapes, so that any path may stand there.
            "  \(node.name):\n    conninfo: \(JSON.string(node.conninfo).text)\n"
        }
        return """
            \(mark)
            # Passwords stand in the password file that each conninfo names. Not for production: all nodes share one machine.
            cluster: dev
            defaults:
              pool: {maximum: 32}
            nodes:
            \(nodes.joined())
            """
    }
}
