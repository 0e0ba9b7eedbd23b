import Foundation
import Glibc
import Synchronization
import TandemCore
import TandemLocal

/// The place of one coordinator: a process, and after its death the next one.
final class CoordinatorProcess: Sendable {
    private struct State {
        var incarnation = -1
        var failures = 0
        var process: ChildProcess?
        /// The end that ends it when this program is gone.
        var pipe: FileHandle?
    }

    /// How long a coordinator that was told to stop has for its transactions.
    private static let patience = Duration.seconds(15)

    let number: Int
    private let program: String
    private let folder: String
    private let plan: @Sendable (Int) -> CoordinatorPlan
    private let state = Mutex(State())

    /// - Parameters:
    ///   - number: which one.
    ///   - program: this program's path.
    ///   - folder: where its files go.
    ///   - plan: what each of its incarnations is told.
    init(number: Int, program: String, folder: String, plan: @Sendable @escaping (Int) -> CoordinatorPlan) {
        self.number = number
        self.program = program
        self.folder = folder
        self.plan = plan
    }

    /// How often it ended by itself, or not when it was told to, which it never should.
    var failures: Int { state.withLock { $0.failures } }

    func start() throws {
        let incarnation = state.withLock { $0.incarnation + 1 }
        let file = "\(folder)/coordinator-\(number)-\(incarnation).json"
        let data = try JSONEncoder().encode(plan(incarnation))
        guard FileManager.default.createFile(atPath: file, contents: data, attributes: [.posixPermissions: 0o600]) else {
            throw TandemError(.localNodeFailed, "\(file) cannot be written", nextStep: "see whether the disk is full: df -h")
        }
        let log = try Self.open("\(folder)/coordinator-\(number).log")
        let pipe = Pipe()
        let environment = ProcessInfo.processInfo.environment["TANDEM_FAILPOINTS"].map { ["TANDEM_FAILPOINTS=\($0)"] } ?? []
        let process = try ChildProcess.spawn(
            [program, "chaos", "coordinator", file], input: pipe.fileHandleForReading.fileDescriptor, output: log.fileDescriptor, inNewSession: true,
            extraEnvironment: environment)
        state.withLock { ($0.incarnation, $0.process, $0.pipe) = (incarnation, process, pipe.fileHandleForWriting) }
    }

    private static func open(_ path: String) throws -> FileHandle {
        let descriptor = Glibc.open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw TandemError(.localNodeFailed, "\(path) cannot be written: \(String(cString: strerror(errno)))") }
        return FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
    }

    /// Takes the process, if it still runs; one that does not has failed.
    private func running() -> ChildProcess? {
        guard let process = state.withLock({ $0.process }) else { return nil }
        guard process.hasEnded else { return process }
        state.withLock { ($0.process, $0.pipe, $0.failures) = (nil, nil, $0.failures + 1) }
        return nil
    }

    /// Ends it by SIGKILL.
    func kill() async {
        guard let process = running() else { return }
        Glibc.kill(process.processID, SIGKILL)
        _ = try? await process.status(within: Self.patience)
        state.withLock { ($0.process, $0.pipe) = (nil, nil) }
    }

    /// Stops it by SIGSTOP and lets it go on after a time. Another program does both, so that it goes on whatever becomes of this one.
    ///
    /// - Parameter milliseconds: for how long.
    /// - Returns: whether there was one.
    /// - Throws: `localNodeFailed` where that program cannot be started; `CancellationError`, and then it goes on at once.
    func suspend(milliseconds: Int) async throws -> Bool {
        guard let process = running() else { return false }
        let script = #"kill -STOP "$1" && sleep "$2"; kill -CONT "$1""#
        let seconds = "\(milliseconds / 1000).\(String(1000 + milliseconds % 1000).dropFirst())"
        let helper = try ChildProcess.spawn(["/bin/sh", "-c", script, "sh", String(process.processID), seconds], inNewSession: true)
        defer { Glibc.kill(process.processID, SIGCONT) }
        _ = try await helper.status(within: .milliseconds(milliseconds) + Self.patience)
        return true
    }

    /// Asks it to end; one that does not, or not well, has failed.
    func stop() async {
        guard let process = running() else { return }
        Glibc.kill(process.processID, SIGTERM)
        let status = try? await process.status(within: Self.patience)
        state.withLock { state in
            (state.process, state.pipe) = (nil, nil)
            if status != 0 { state.failures += 1 }
        }
    }
}
