import Foundation
import Glibc
import TandemTestSupport
import Testing

/// A process of the built program, `tandem`.
final class ProgramRun: Sendable {
    /// What a process leaves.
    struct End: Sendable {
        /// The exit code; 128 and the signal's number where one ended it.
        let code: Int32
        let output: String
        let talk: String

        /// The one JSON object that was printed.
        func json() throws -> [String: any Sendable] {
            #expect(output.split(separator: "\n").count == 1, "\(output)")
            return try #require(try JSONSerialization.jsonObject(with: Data(output.utf8)) as? [String: any Sendable])
        }
    }

    private let process: Process
    private let ended: AsyncStream<Never>
    private let folder: URL

    /// Starts the program without the variables that mean something to it. Where it is not `isPatient`, a write to its output is refused where there is no room.
    init(_ arguments: [String], environment: [String: String] = [:], input: String = "", output: String? = nil, isPatient: Bool = true) throws {
        // The program lies beside the bundle of the tests.
        let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
        process = Process()
        process.executableURL = URL(fileURLWithPath: own).deletingLastPathComponent().appending(path: "tandem")
        process.arguments = arguments
        let inherited = ProcessInfo.processInfo.environment.filter {
            $0.key == "TANDEM_TEST_PG_BIN" || (!$0.key.hasPrefix("TANDEM_") && !$0.key.hasPrefix("PG"))
        }
        process.environment = inherited.merging(environment) { $1 }
        folder = FileManager.default.temporaryDirectory.appending(path: "tandem-command-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        for name in ["out", "err"] { try Data().write(to: folder.appending(path: name)) }
        try Data(input.utf8).write(to: folder.appending(path: "in"))
        let input = try FileHandle(forReadingFrom: folder.appending(path: "in"))
        let output = try FileHandle(forWritingTo: output.map { URL(fileURLWithPath: $0) } ?? folder.appending(path: "out"))
        if !isPatient { #expect(fcntl(output.fileDescriptor, F_SETFL, O_NONBLOCK) == 0) }
        let talk = try FileHandle(forWritingTo: folder.appending(path: "err"))
        (process.standardInput, process.standardOutput, process.standardError) = (input, output, talk)
        let (ended, continuation) = AsyncStream.makeStream(of: Never.self)
        self.ended = ended
        process.terminationHandler = { _ in continuation.finish() }
        try process.run()
        // The child has its own. Foundation does not let go of ours, and over a thousand open descriptors end its next `run()` with a signal.
        for handle in [input, output, talk] { try handle.close() }
    }

    deinit { try? FileManager.default.removeItem(at: folder) }

    var output: String { text("out") }
    var talk: String { text("err") }
    var isRunning: Bool { process.isRunning }

    func send(_ signal: Int32) { kill(process.processIdentifier, signal) }

    /// Lets no file that it writes be larger than so many bytes; `nil` for no limit.
    func limitFiles(to size: Int?) throws {
        let limit = try Process.run(
            URL(fileURLWithPath: "/usr/bin/prlimit"), arguments: ["--pid", "\(process.processIdentifier)", "--fsize=\(size.map(String.init) ?? "unlimited"):"])
        limit.waitUntilExit()
        #expect(limit.terminationStatus == 0)
    }

    /// Whether SIGSTOP holds it.
    var isStopped: Bool {
        let state = try? String(contentsOfFile: "/proc/\(process.processIdentifier)/stat", encoding: .utf8)
        return state.flatMap { $0.lastIndex(of: ")").map { index in state?[index...].dropFirst(2).first == "T" } } ?? false
    }

    func end() async -> End {
        for await _ in ended {}
        if process.isRunning {
            // Nobody waits for it any more: the test was cancelled.
            send(SIGKILL)
            process.waitUntilExit()
        }
        let code = process.terminationStatus + (process.terminationReason == .uncaughtSignal ? 128 : 0)
        return End(code: code, output: text("out"), talk: text("err"))
    }

    private func text(_ name: String) -> String {
        (try? String(contentsOf: folder.appending(path: name), encoding: .utf8)) ?? ""
    }
}

/// Runs the program to its end.
func tandem(_ arguments: String..., environment: [String: String] = [:], input: String = "") async throws -> ProgramRun.End {
    try await ProgramRun(arguments, environment: environment, input: input).end()
}

/// Asks again and again until the answer is yes.
func until(_ claim: String, _ condition: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + .seconds(120)
    while try await !condition() {
        try #require(ContinuousClock.now < deadline, "it never happened that \(claim)")
        await tick()
    }
}
