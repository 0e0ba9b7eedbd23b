import Foundation
import Glibc
import TandemCore

/// What initialising a node needs to know.
struct NodeSetup: Sendable {
    let binaries: PostgresBinaries
    let account: ServerAccount
    let database: String
    let password: String
    let superuserPassword: String
    /// Whether the new data directory must survive a crash of the machine.
    let isDurable: Bool
}

extension NodeFolder {
    /// Makes the data directory: `initdb`, then the roles and the database in single-user mode, which needs no server, no connection and
    /// a few milliseconds. Each node is initialised for itself: a copy would share its system identifier.
    func initialise(_ setup: NodeSetup) async throws {
        guard try await poll(within: .seconds(30), { isGone }) else {
            throw TandemError(.localNodeFailed, "an earlier initdb still works in \(data)", node: name, nextStep: "Try again.")
        }
        for leftover in [data, log] where access(leftover, F_OK) == 0 {
            try FileManager.default.removeItem(atPath: leftover)
        }
        try makeFolder(path, mode: 0o711)
        try makeFolder(data, mode: 0o700, owner: setup.account)

        let binaries = setup.binaries
        try await run(
            setup.account.prefix
                + [binaries.initdb, "--pgdata=\(data)", "--username=\(LocalNode.superuser)", "--auth=trust", "--encoding=UTF8"]
                + ["--locale=C.UTF-8", "--no-sync", "--no-instructions"],
            "initdb")
        try await run(
            setup.account.prefix + [binaries.postgres, "--single", "-F", "-j", "-D", data, "postgres"], "postgres --single",
            input: Self.statements(setup))
    }

    /// Writes the data directory to disk; the server may already run on it, since its own writes are its own care.
    func sync(_ setup: NodeSetup) async throws {
        guard setup.isDurable else { return }
        try await run(setup.account.prefix + [setup.binaries.initdb, "--sync-only", "--pgdata=\(data)"], "initdb --sync-only")
    }

    /// The role bears the name of Tandem's schema, and PostgreSQL puts new tables into the schema of one's own name first.
    ///
    /// Single-user mode with -j ends a statement at a semicolon followed by an empty line.
    private static func statements(_ setup: NodeSetup) -> String {
        let name = "\"\(setup.database)\""
        return """
            ALTER ROLE \(LocalNode.superuser) PASSWORD '\(setup.superuserPassword)';

            CREATE ROLE \(name) LOGIN PASSWORD '\(setup.password)';

            CREATE DATABASE \(name) OWNER \(name);

            ALTER ROLE \(name) SET search_path = public;


            """
    }

    /// Runs a program under the servers' account; its output is shown only if it fails.
    private func run(_ arguments: [String], _ title: String, input: String? = nil) async throws {
        let output = try TemporaryFile()
        defer { output.remove() }
        let source = try input.map { try TemporaryFile(text: $0) }
        defer { source?.remove() }
        let child = try ChildProcess.spawn(arguments, directory: path, input: source?.descriptor, output: output.descriptor)
        let status = try await child.status(within: .seconds(120))
        // Single-user mode exits with 0 also after a failed statement.
        guard status == 0, !output.text.contains("ERROR:"), !output.text.contains("FATAL:") else {
            let tail = output.text.split(separator: "\n").suffix(8).joined(separator: "\n")
            throw TandemError(
                .localNodeFailed, "\(title) ended with status \(status):\n\(tail)", node: name,
                nextStep: Self.nextStep(after: tail, in: path))
        }
    }

    /// What helps, by what a server program said.
    static func nextStep(after text: String, in path: String) -> String {
        if text.contains("No space left on device") { return "The disk is full; see: df -h \(path)" }
        if text.contains("Address already in use") { return "Another program took the port; start the cluster again." }
        if text.contains("could not create shared memory segment") || text.contains("Cannot allocate memory") {
            return "The memory is used up; see: free -m"
        }
        if text.contains("incompatible with server") {
            return "The data is of another PostgreSQL version; name its programs with --pg-bin."
        }
        if text.contains("invalid value for parameter") || text.contains("unrecognized configuration parameter") {
            return "Correct the server setting that the message names."
        }
        return "Read the log in \(path)."
    }
}

/// Makes a folder unless it is there. One that is there must be ours: in a folder that everybody can write to, somebody else's folder under the
/// expected name would hold our data.
func makeFolder(_ path: String, mode: mode_t, owner: ServerAccount? = nil) throws {
    if mkdir(path, mode) == 0 {
        chmod(path, mode)
        if let owner, !owner.isOurs { lchown(path, owner.userID, owner.groupID) }
        return
    }
    guard errno == EEXIST else {
        throw TandemError(
            .localNodeFailed, "\(path) cannot be made: \(lastSystemError())",
            nextStep: "Choose a folder on a disk with room that you may write to.")
    }
    var information = stat()
    guard lstat(path, &information) == 0, information.st_mode & S_IFMT == S_IFDIR,
        [geteuid(), owner?.userID ?? geteuid()].contains(information.st_uid)
    else {
        throw TandemError(.localNodeFailed, "\(path) exists and is not a folder of this account", nextStep: "Choose another folder.")
    }
}
