import Foundation
import Glibc
import TandemCore

/// The files of one node, and the server processes that belong to it.
///
/// A server process chdirs into its data directory and stays there, backends and orphaned backends included. So "a process of this node" is
/// a process named postgres whose working directory is that directory: no pid file can be stale, no reused process id is mistaken for a
/// server, and a node is gone only when nothing is attached to its shared memory any more.
struct NodeFolder: Sendable {
    let name: NodeName
    let path: String

    var data: String { "\(path)/data" }
    var log: String { "\(path)/postgresql.log" }
    var configuration: String { "\(path)/postgresql.conf" }
    var accessRules: String { "\(path)/pg_hba.conf" }
    /// Exists only if the data directory is complete: initialised, with its roles and database, and on disk.
    var completeMark: String { "\(path)/complete" }
    /// The exit status of the last server, written by its keeper.
    var exitStatus: String { "\(path)/exit" }
    var keeperFile: String { "\(path)/keeper.pid" }
    var postmasterFile: String { "\(data)/postmaster.pid" }

    /// Every live process of the node (initdb included); zombies have no working directory and are not among them.
    func processes() -> [pid_t] {
        let places = [data, path].compactMap(FileIdentity.init(path:))
        return allProcesses().filter { process in
            guard let place = FileIdentity(path: "/proc/\(process)/cwd"), places.contains(place) else { return false }
            return ["postgres", "initdb"].contains(programName(of: process))
        }
    }

    /// The process named by `postmaster.pid`, if it is alive and this node's.
    func postmaster() -> pid_t? {
        guard let line = lines(of: postmasterFile).first, let process = pid_t(line), process > 1,
            let place = FileIdentity(path: "/proc/\(process)/cwd"), place == FileIdentity(path: data),
            programName(of: process) == "postgres"
        else { return nil }
        return process
    }

    /// The shell that started the server and reaps it; it works in the node's folder.
    func keeper() -> pid_t? {
        guard let line = lines(of: keeperFile).first, let process = pid_t(line), process > 1,
            let place = FileIdentity(path: "/proc/\(process)/cwd"), place == FileIdentity(path: path)
        else { return nil }
        return process
    }

    /// Whether no process of the node is left, the one that reaps the postmaster included.
    var isGone: Bool { keeper() == nil && processes().isEmpty }

    /// The eighth line of `postmaster.pid` is the server's own word that it accepts connections: sooner known, and cheaper, than asking by
    /// a connection.
    var isReady: Bool {
        let lines = lines(of: postmasterFile)
        return lines.count >= 8 && lines[7].hasPrefix("ready") && postmaster() != nil
    }

    func status() -> LocalNodeStatus {
        guard let postmaster = postmaster() else {
            return LocalNodeStatus(name: name, state: isGone ? .stopped : .changing, processID: nil)
        }
        let state: LocalNodeStatus.State = isStopped(postmaster) ? .paused : isReady ? .running : .changing
        return LocalNodeStatus(name: name, state: state, processID: postmaster)
    }
}

/// What a path leads to, however it is spelled.
struct FileIdentity: Equatable {
    let device: dev_t
    let file: ino_t

    init?(path: String) {
        var information = stat()
        guard stat(path, &information) == 0 else { return nil }
        (device, file) = (information.st_dev, information.st_ino)
    }

    init?(descriptor: Int32) {
        var information = stat()
        guard fstat(descriptor, &information) == 0 else { return nil }
        (device, file) = (information.st_dev, information.st_ino)
    }
}

/// The lines of a small file; none if it cannot be read.
func lines(of path: String) -> [String] {
    guard let data = FileManager.default.contents(atPath: path) else { return [] }
    return String(decoding: data, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
}

private func allProcesses() -> [pid_t] {
    ((try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []).compactMap { pid_t($0) }
}

private func programName(of process: pid_t) -> String? {
    guard let path = try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/\(process)/exe") else { return nil }
    let deleted = " (deleted)"  // the program was upgraded while it ran
    let name = path.split(separator: "/").last.map(String.init) ?? path
    return name.hasSuffix(deleted) ? String(name.dropLast(deleted.count)) : name
}

/// Whether a process is stopped by a signal: the state follows the name, which is in parentheses and may itself hold any character.
func isStopped(_ process: pid_t) -> Bool {
    statusFields(of: process).first == "T"
}

/// The fields of /proc/PID/stat from the third on.
func statusFields(of process: pid_t) -> [Substring] {
    guard let line = lines(of: "/proc/\(process)/stat").first, let end = line.lastIndex(of: ")") else { return [] }
    return line[line.index(after: end)...].split(separator: " ")
}
