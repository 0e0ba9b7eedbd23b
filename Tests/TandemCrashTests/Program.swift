import Foundation
import TandemCluster
import TandemCore
import TandemTestSupport

/// A program of this package as a process of its own, so that it can be killed.
struct Program: Sendable {
    /// How a process ended.
    enum End: Equatable {
        case exited(Int32)
        case signalled(Int32)

        var isKilled: Bool { self == .signalled(SIGKILL) }
    }

    let name: String
    let arguments: [String]
    var failpoints: String?
    var input: String?
    /// The file that its standard output goes to; to nobody where there is none.
    var output: String?
    /// How far its clock goes before everybody else's, in seconds; needs libfaketime.
    var clockSkew: Int?

    /// Built beside the tests.
    private var path: String {
        let own = (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        return URL(fileURLWithPath: own).deletingLastPathComponent().appendingPathComponent(name).path
    }

    private static func fakeTime() throws -> String {
        let folders = ((try? FileManager.default.contentsOfDirectory(atPath: "/usr/lib")) ?? []).map { "/usr/lib/\($0)/faketime/libfaketime.so.1" }
        guard let path = (folders + ["/usr/lib/faketime/libfaketime.so.1"]).first(where: { access($0, R_OK) == 0 }) else {
            throw TestFailure("libfaketime is not installed: run scripts/bootstrap --tests")
        }
        return path
    }

    /// Runs it to its end.
    func run() async throws -> End { try await start().end() }

    func start() throws -> Running {
        guard FileManager.default.isExecutableFile(atPath: path) else { throw TestFailure("there is no program \(path): build the package first") }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments
        var environment = ProcessInfo.processInfo.environment
        environment["TANDEM_FAILPOINTS"] = failpoints
        if let clockSkew {
            environment["LD_PRELOAD"] = try Self.fakeTime()
            environment["FAKETIME"] = "\(clockSkew < 0 ? "" : "+")\(clockSkew)s"
            // The machine's time since its start goes as ever, as it does where a clock is wrong.
            environment["FAKETIME_DONT_FAKE_MONOTONIC"] = "1"
            // The first program under the library sets up what it shares, and Swift would not see its own arguments; env becomes the program itself.
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = [path] + arguments
        }
        process.environment = environment
        if let output {
            guard FileManager.default.createFile(atPath: output, contents: nil), let file = FileHandle(forWritingAtPath: output) else {
                throw TestFailure("there is no file \(output)")
            }
            process.standardOutput = file
        } else {
            process.standardOutput = FileHandle.nullDevice
        }
        process.standardError = FileHandle.nullDevice
        if let input {
            let pipe = Pipe()
            process.standardInput = pipe
            try pipe.fileHandleForWriting.write(contentsOf: Data(input.utf8))
            try pipe.fileHandleForWriting.close()
        } else {
            process.standardInput = FileHandle.nullDevice
        }
        let (ends, continuation) = AsyncStream.makeStream(of: End.self)
        process.terminationHandler = { process in
            continuation.yield(process.terminationReason == .uncaughtSignal ? .signalled(process.terminationStatus) : .exited(process.terminationStatus))
            continuation.finish()
        }
        try process.run()
        return Running(identifier: process.processIdentifier, ends: ends)
    }

    struct Running {
        let identifier: Int32
        fileprivate let ends: AsyncStream<End>

        func end() async throws -> End {
            for await end in ends { return end }
            throw TestFailure("the process ended without a status")
        }

        func signal(_ number: Int32) { kill(identifier, number) }

        /// Whether SIGSTOP holds it.
        var isStopped: Bool { state == "T" }
        /// Whether it runs no more.
        var hasEnded: Bool { state == nil || state == "Z" }

        private var state: Character? {
            guard let text = try? String(contentsOfFile: "/proc/\(identifier)/stat", encoding: .utf8), let end = text.lastIndex(of: ")") else { return nil }
            return text[end...].dropFirst(2).first
        }
    }
}

extension TestCluster {
    /// Writes the cluster's configuration as the command reads it, and gives the body its path.
    func withConfigurationFile<Value>(_ more: String = "", _ body: (String) async throws -> Value) async throws -> Value {
        let path = "\(NSTemporaryDirectory())/tandem-crash-\(database).yaml"
        let nodes = configuration.nodes.map { "  \($0.name):\n    conninfo: \"\($0.conninfo)\"\n" }.joined()
        try "cluster: \(configuration.name)\n\(more)nodes:\n\(nodes)".write(toFile: path, atomically: true, encoding: .utf8)
        defer { unlink(path) }
        return try await body(path)
    }
}
