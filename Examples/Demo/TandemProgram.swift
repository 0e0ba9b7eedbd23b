import Foundation

/// The `tandem` command, run as a program of its own: what it does, a shell could do.
struct TandemProgram: Sendable {
    /// How a run ended.
    struct Ending: Sendable {
        /// The exit status; `nil` where a signal ended it.
        let status: Int32?
        let signal: Int32?
        let output: String
        let talk: String
    }

    private static let limit = Duration.seconds(30)

    let path: String
    let configuration: String
    let folder: String

    /// Runs it to its end. The output goes through files: a pipe that nobody reads in time could fill.
    func run(_ arguments: String..., failpoints: String? = nil) async throws -> Ending {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = ["--config", configuration] + arguments
        var environment = ProcessInfo.processInfo.environment
        environment["TANDEM_FAILPOINTS"] = failpoints
        process.environment = environment
        let output = "\(folder)/output", talk = "\(folder)/talk"
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = try file(output)
        process.standardError = try file(talk)
        let (ended, end) = AsyncStream.makeStream(of: Never.self)
        process.terminationHandler = { _ in end.finish() }
        try process.run()
        let limit = Task {
            try await Task.sleep(for: Self.limit)
            kill(process.processIdentifier, SIGKILL)
        }
        // Also where this task is cancelled: there is no ending to report before it has ended.
        await Task { for await _ in ended {} }.value
        limit.cancel()
        let isKilled = process.terminationReason == .uncaughtSignal
        return Ending(
            status: isKilled ? nil : process.terminationStatus, signal: isKilled ? process.terminationStatus : nil,
            output: try text(output),
            talk: try text(talk))
    }

    private func file(_ path: String) throws -> FileHandle {
        try Data().write(to: URL(fileURLWithPath: path))
        return try FileHandle(forWritingTo: URL(fileURLWithPath: path))
    }

    private func text(_ path: String) throws -> String {
        String(decoding: try Data(contentsOf: URL(fileURLWithPath: path)), as: UTF8.self)
    }
}
