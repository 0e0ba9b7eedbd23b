import Foundation
import Glibc
import TandemCore

/// Finds programs.
enum Executable {
    static var searchPath: [String] {
        (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin").split(separator: ":").map(String.init) + ["/usr/bin", "/bin"]
    }

    static func find(_ name: String, in folders: [String]) -> String? {
        folders.map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
    }
}

/// The PostgreSQL programs of one installation.
struct PostgresBinaries: Sendable {
    let directory: String

    var initdb: String { "\(directory)/initdb" }
    var postgres: String { "\(directory)/postgres" }

    /// Where the folder may be named: for whoever runs local nodes, and for the tests, which then run on that version.
    private static let variables = ["TANDEM_PG_BIN", "TANDEM_TEST_PG_BIN"]

    static func find(explicit: String?) async throws -> PostgresBinaries {
        let environment = ProcessInfo.processInfo.environment
        if let explicit = explicit ?? variables.lazy.compactMap({ environment[$0] }).first(where: { !$0.isEmpty }) {
            guard isComplete(explicit) else {
                throw TandemError(
                    .localNodeFailed, "\(explicit) holds no initdb and postgres",
                    nextStep: "Name the bin folder of a PostgreSQL 15 or later, such as /usr/lib/postgresql/15/bin.")
            }
            return PostgresBinaries(directory: explicit)
        }
        if let folder = try await folderOfPgConfig(), isComplete(folder) { return PostgresBinaries(directory: folder) }
        if let folder = (debianFolders() + Executable.searchPath).first(where: isComplete) { return PostgresBinaries(directory: folder) }
        throw TandemError(
            .localNodeFailed, "no PostgreSQL server programs were found (initdb, postgres)",
            nextStep: "sudo apt-get install -y postgresql")
    }

    private static func isComplete(_ folder: String) -> Bool {
        ["initdb", "postgres"].allSatisfy { access("\(folder)/\($0)", X_OK) == 0 }
    }

    private static func folderOfPgConfig() async throws -> String? {
        guard let program = Executable.find("pg_config", in: Executable.searchPath) else { return nil }
        let output = try TemporaryFile()
        defer { output.remove() }
        let child = try ChildProcess.spawn([program, "--bindir"], output: output.descriptor)
        guard try await child.status(within: .seconds(10)) == 0 else { return nil }
        return output.text.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// The folders of Debian's packages, the newest version first.
    private static func debianFolders() -> [String] {
        let root = "/usr/lib/postgresql"
        let versions = ((try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []).compactMap(Int.init)
        return versions.sorted(by: >).map { "\(root)/\($0)/bin" }
    }
}

/// A nameless file that takes the output of a program, or gives it its input.
struct TemporaryFile {
    let descriptor: Int32

    init() throws {
        let path = "\(NSTemporaryDirectory())/tandem-\(UUID().uuidString)"
        descriptor = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else {
            throw TandemError(
                .localNodeFailed, "no temporary file can be made in \(NSTemporaryDirectory()): \(lastSystemError())",
                nextStep: "Set TMPDIR to a folder with room that you may write to.")
        }
        unlink(path)
    }

    /// A file that a program reads from its beginning.
    init(text: String) throws {
        try self.init()
        try FileHandle(fileDescriptor: descriptor, closeOnDealloc: false).write(contentsOf: Data(text.utf8))
        lseek(descriptor, 0, SEEK_SET)
    }

    var text: String {
        lseek(descriptor, 0, SEEK_SET)
        let bytes = (try? FileHandle(fileDescriptor: descriptor, closeOnDealloc: false).readToEnd()) ?? Data()
        return String(decoding: bytes, as: UTF8.self)
    }

    func remove() { close(descriptor) }
}

/// The text of `errno`.
func lastSystemError() -> String { String(cString: strerror(errno)) }
