import Foundation
import Glibc
import TandemCore

/// How a node's server is started.
struct ServerLaunch: Sendable {
    let binaries: PostgresBinaries
    let account: ServerAccount
    let port: Int
    let socketDirectory: String
    let settings: [String: String]
    /// The file that exists as long as this run of the cluster may have servers.
    let running: String
}

extension NodeFolder {
    /// Every wait for a server to come or to go ends here; a crash recovery of a large node is the longest of them.
    static let limit = Duration.seconds(60)

    /// Starts the server and waits until it accepts connections.
    func start(_ launch: ServerLaunch) async throws {
        guard try await poll(within: Self.limit, { isGone }) else {
            throw TandemError(
                .localNodeFailed, "the previous server has not ended", node: name, nextStep: "Kill the node and start it again.")
        }
        // Nothing of the node is alive, so what these files say is old; a process id in them may since belong to another server, and
        // PostgreSQL would then refuse to start.
        for stale in [postmasterFile, exitStatus, keeperFile, "\(launch.socketDirectory)/.s.PGSQL.\(launch.port).lock"] { unlink(stale) }
        try writeConfiguration(launch)
        let logStart = fileSize(log)
        let command = launch.account.prefix + [launch.binaries.postgres, "-D", data, "-c", "config_file=\(configuration)"]
        let child = try ChildProcess.spawn(
            ["/bin/sh", "-c", Scripts.keeper, "tandem-keeper", path, launch.running, log] + command, inNewSession: true)
        guard try await child.status(within: .seconds(10)) == 0 else {
            throw TandemError(.localNodeFailed, "the server could not be launched in \(path)", node: name)
        }
        let isDecided = try await poll(within: Self.limit) { isReady || access(exitStatus, F_OK) == 0 || access(launch.running, F_OK) != 0 }
        guard isDecided, isReady else {
            let message = logText(from: logStart)
            throw TandemError(
                .localNodeFailed, "the server \(isDecided ? "ended while it started" : "is not ready after \(Self.limit)"):\n\(message)",
                node: name, nextStep: Self.nextStep(after: message, in: path))
        }
    }

    /// Kills every process of the server at once, as a crash of its machine would, and waits until they are gone and reaped.
    func kill() async throws {
        let isGone = try await poll(within: Self.limit) {
            // The postmaster first, so that it starts no more processes.
            if let postmaster = postmaster() { Glibc.kill(postmaster, SIGKILL) }
            for process in processes() { Glibc.kill(process, SIGKILL) }
            return self.isGone
        }
        guard isGone else { throw TandemError(.localNodeFailed, "the server did not end after SIGKILL", node: name) }
    }

    /// Stops every process of the server until `resume`.
    func pause() async throws {
        guard let postmaster = postmaster() else {
            throw TandemError(.localNodeFailed, "the server does not run", node: name, nextStep: "Start the node first.")
        }
        let isPaused = try await poll(within: Self.limit) {
            // The postmaster first: while it is stopped no process is added, and the list of its children is final.
            Glibc.kill(postmaster, SIGSTOP)
            guard isStopped(postmaster) else { return false }
            let running = processes().filter { !isStopped($0) }
            for process in running { Glibc.kill(process, SIGSTOP) }
            return running.isEmpty
        }
        guard isPaused else { throw TandemError(.localNodeFailed, "the server could not be paused", node: name) }
    }

    /// Continues every process of the server.
    func resume() {
        for process in processes() { Glibc.kill(process, SIGCONT) }
    }

    /// Stops the server as fast as it can do so in order; at once if that takes too long or the data is not kept.
    func stop(isKept: Bool) async throws {
        for (signal, limit) in [(SIGINT, Duration.seconds(10)), (SIGQUIT, .seconds(5))] where isKept || signal == SIGQUIT {
            let isGone = try await poll(within: limit) {
                resume()
                // Again each time: a server that was just being started shows up late, and repeating the signal changes nothing.
                if let postmaster = postmaster() { Glibc.kill(postmaster, signal) }
                return self.isGone
            }
            if isGone { return }
        }
        try await kill()
    }

    private func writeConfiguration(_ launch: ServerLaunch) throws {
        var settings: [String: String] = [
            "hba_file": accessRules, "ident_file": "\(data)/pg_ident.conf", "listen_addresses": "127.0.0.1", "port": String(launch.port),
            "unix_socket_directories": "\"\(launch.socketDirectory)\"", "ssl": "off", "log_line_prefix": "%m [%p] %q%u@%d ",
            "log_statement": "none", "logging_collector": "off", "log_destination": "stderr", "password_encryption": "scram-sha-256",
            "restart_after_crash": "on",
        ]
        settings.merge(launch.settings) { $1 }
        var text = "include '\(Self.quoted("\(data)/postgresql.conf"))'\n"
        for (name, value) in settings.sorted(by: { $0.key < $1.key }) {
            guard name.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "._".contains($0)) }), !value.contains("\n"),
                !value.contains("\0")
            else {
                throw TandemError(
                    .localNodeFailed, "\(name) is not a server setting", node: self.name, nextStep: "Correct the setting's name.")
            }
            text += "\(name) = '\(Self.quoted(value))'\n"
        }
        let rules = """
            local all all scram-sha-256
            host all all 127.0.0.1/32 scram-sha-256
            local replication all scram-sha-256
            host replication all 127.0.0.1/32 scram-sha-256

            """
        for (path, content) in [(configuration, text), (accessRules, rules)] {
            try writePrivately(Data(content.utf8), to: path)
            chmod(path, 0o644)  // no secrets, and the servers' account reads it
        }
    }

    private static func quoted(_ value: String) -> String {
        value.replacingOccurrences(of: "\\", with: "\\\\").replacingOccurrences(of: "'", with: "''")
    }

    /// What the log says since the given size.
    private func logText(from start: Int) -> String {
        let data = FileManager.default.contents(atPath: log) ?? Data()
        let lines = String(decoding: data.dropFirst(start), as: UTF8.self).split(separator: "\n")
        return lines.suffix(8).joined(separator: "\n")
    }
}

private func fileSize(_ path: String) -> Int {
    var information = stat()
    return stat(path, &information) == 0 ? Int(information.st_size) : 0
}
