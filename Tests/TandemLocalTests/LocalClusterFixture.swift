import Foundation
import Glibc
import TandemCore
import Testing

@testable import TandemLocal

/// Gives the body a folder of its own, and afterwards ends what runs there and removes it.
func withClusterFolder<Value: Sendable>(_ body: @Sendable (String) async throws -> Value) async throws -> Value {
    let directory = "/var/tmp/tandem-local-test-\(UUID().uuidString.lowercased())"
    do {
        let value = try await body(directory)
        try await LocalCluster.reset(directory: directory)
        return value
    } catch {
        try? await LocalCluster.reset(directory: directory)
        throw error
    }
}

/// Runs statements through psql and returns what it prints.
@discardableResult
func psql(_ conninfo: String, _ statements: String...) async throws -> String {
    let (status, text) = try await psqlStatus(conninfo, statements)
    try #require(status == 0, "psql: \(text)")
    return text
}

/// Runs statements through psql; 2 stands for a connection that was refused.
func psqlStatus(_ conninfo: String, _ statements: [String]) async throws -> (status: Int32, text: String) {
    let program = try #require(Executable.find("psql", in: Executable.searchPath))
    let output = try TemporaryFile()
    defer { output.remove() }
    let arguments =
        [program, "--no-psqlrc", "--no-password", "-qtA", "-v", "ON_ERROR_STOP=1"] + statements.flatMap { ["-c", $0] } + [conninfo]
    let status = try await ChildProcess.spawn(arguments, output: output.descriptor).status(within: .seconds(60))
    return (status, output.text.trimmingCharacters(in: .whitespacesAndNewlines))
}

/// The folders of all nodes of a cluster, as its record names them.
func folders(_ directory: String) throws -> [NodeFolder] {
    try #require(try ClusterRecord.read(directory)).folders
}

extension NodeFolder {
    /// Waits until no process of the node is left.
    func end(within limit: Duration = .seconds(60)) async throws -> Bool {
        try await poll(within: limit) { isGone }
    }
}
