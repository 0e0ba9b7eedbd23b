import Glibc
import TandemCore

/// The process that ends the servers when this one ends, however it ends.
///
/// It reads from a pipe whose write end only this process holds (close-on-exec from its creation, and every child of ours closes everything
/// but its three standard descriptors): the system closes that end with the process, also after kill -9. PR_SET_PDEATHSIG would not do, since
/// it acts at the end of the thread that forked, which in a thread pool is any time.
///
/// It is no child of ours but an orphan from its first moment on: whoever drops the last reference without `end` leaves no zombie behind.
actor Supervisor {
    nonisolated let identity: ProcessIdentity?
    private var writeEnd: Int32

    init(running: String, isEphemeral: Bool, directory: String, base: String, nodes: [NodeFolder]) async throws {
        var ends: [Int32] = [-1, -1]
        // A socket pair is a pipe that is close-on-exec from the start, which `pipe` alone cannot promise beside other threads.
        guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0 else {
            throw TandemError(
                .localNodeFailed, "no pipe to the supervisor: \(lastSystemError())", nextStep: "Raise the limit of open files.")
        }
        defer { close(ends[0]) }
        do {
            let output = try TemporaryFile()
            defer { output.remove() }
            let launcher = try ChildProcess.spawn(
                ["/bin/sh", "-c", Scripts.supervisorLauncher, "sh", Scripts.supervisor]
                    + [running, isEphemeral ? "immediate" : "fast", directory, isEphemeral ? base : ""] + nodes.map(\.path),
                input: ends[0], output: output.descriptor, inNewSession: true)
            let status = try await launcher.status(within: .seconds(10))
            guard status == 0, let process = pid_t(output.text.split(separator: "\n").first ?? "") else {
                throw TandemError(.localNodeFailed, "the supervisor could not be started: \(output.text)")
            }
            identity = ProcessIdentity(process)
        } catch {
            close(ends[1])
            throw error
        }
        writeEnd = ends[1]
    }

    /// Lets the supervisor go and waits for it; the servers that its run still has are stopped by it.
    func end() async {
        guard writeEnd >= 0 else { return }
        close(writeEnd)
        writeEnd = -1
        guard let identity else { return }
        _ = try? await poll(within: .seconds(30)) { @Sendable in !identity.isAlive }
    }

    deinit {
        if writeEnd >= 0 { close(writeEnd) }
    }
}
