import Foundation
package import Glibc
import TandemCore

/// A program started with `posix_spawn`: no descriptor of ours but the three standard ones, no signal mask or ignored signal of ours, and an
/// environment of its own, so that neither a forgotten descriptor nor a `PGPORT` of the caller reaches a server.
package struct ChildProcess: Sendable {
    package let processID: pid_t
    let name: String

    /// `input` and `output` are descriptors of ours; without them the child reads and writes /dev/null.
    package static func spawn(
        _ arguments: [String], directory: String = "/", input: Int32? = nil, output: Int32? = nil, inNewSession: Bool = false,
        extraEnvironment: [String] = []
    ) throws -> ChildProcess {
        let name = arguments[0]
        let session = inNewSession ? try [sessionProgram()] : []
        let arguments = session + ["/bin/sh", "-c", #"cd -- "$1" && shift && exec "$@""#, "sh", directory] + arguments
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        if let input {
            posix_spawn_file_actions_adddup2(&actions, input, 0)
        } else {
            posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        }
        if let output {
            posix_spawn_file_actions_adddup2(&actions, output, 1)
        } else {
            posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0)
        }
        posix_spawn_file_actions_adddup2(&actions, 1, 2)
        for descriptor in 3..<descriptorBound() { posix_spawn_file_actions_addclose(&actions, descriptor) }

        var signals = sigset_t()
        sigemptyset(&signals)
        posix_spawnattr_setsigmask(&attributes, &signals)
        sigfillset(&signals)
        posix_spawnattr_setsigdefault(&attributes, &signals)
        let flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF
        posix_spawnattr_setflags(&attributes, Int16(flags))

        let argv = arguments.map { strdup($0) }
        let envp = (environment + extraEnvironment).map { strdup($0) }
        defer { (argv + envp).forEach { free($0) } }
        var processID: pid_t = 0
        let status = posix_spawn(&processID, arguments[0], &actions, &attributes, argv + [nil], envp + [nil])
        guard status == 0 else {
            throw TandemError(.localNodeFailed, "\(name) could not be started: \(String(cString: strerror(status)))")
        }
        return ChildProcess(processID: processID, name: name)
    }

    /// A bound above every open descriptor, with room for those that other threads open before the child runs (they get the lowest free
    /// numbers). Closing one that is not open does no harm.
    private static func descriptorBound() -> Int32 {
        let open = ((try? FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd")) ?? []).compactMap { Int32($0) }
        return (open.max() ?? 2) + 64
    }

    /// In a session of its own a program is not reached by the terminal's Ctrl-C.
    private static func sessionProgram() throws -> String {
        guard let program = Executable.find("setsid", in: Executable.searchPath) else {
            throw TandemError(
                .localNodeFailed, "setsid is missing, which detaches the servers from the terminal",
                nextStep: "sudo apt-get install -y util-linux")
        }
        return program
    }

    /// Waits for the end and returns the exit status, 128 plus the signal for a killed program. Ends the program at the deadline, or
    /// when the task is cancelled.
    package func status(within limit: Duration) async throws -> Int32 {
        do {
            var status: Int32 = 0
            let hasEnded = try await poll(within: limit) {
                let answer = waitpid(processID, &status, WNOHANG)
                return answer == processID || (answer < 0 && errno == ECHILD)
            }
            if hasEnded { return Self.exitStatus(status) }
        } catch {
            end()
            throw error
        }
        end()
        throw TandemError(.localNodeFailed, "\(name) did not end within \(limit)")
    }

    /// Whether it has ended; nobody else is told then, so its status is 0 afterwards.
    package var hasEnded: Bool {
        var status: Int32 = 0
        return waitpid(processID, &status, WNOHANG) != 0
    }

    /// Cannot wait for long: nothing survives SIGKILL.
    private func end() {
        Glibc.kill(processID, SIGKILL)
        var status: Int32 = 0
        while waitpid(processID, &status, 0) < 0, errno == EINTR {}
    }

    private static func exitStatus(_ status: Int32) -> Int32 {
        let signal = status & 0x7f
        return signal == 0 ? (status >> 8) & 0xff : 128 + signal
    }

    private static let environment: [String] = {
        let inherited = ["PATH", "TZ", "TMPDIR"].compactMap { name in
            ProcessInfo.processInfo.environment[name].map { "\(name)=\($0)" }
        }
        return inherited + ["LC_ALL=C.UTF-8", "LANG=C.UTF-8"]
    }()
}

/// Asks `condition` again and again, ever more seldom, until it holds; false at the deadline.
func poll(within limit: Duration, _ condition: () throws -> Bool) async throws -> Bool {
    let deadline = ContinuousClock.now + limit
    var pause = Duration.milliseconds(2)
    while try !condition() {
        guard ContinuousClock.now < deadline else { return false }
        try await Task.sleep(for: pause)
        pause = min(pause * 5 / 4, .milliseconds(20))
    }
    return true
}
