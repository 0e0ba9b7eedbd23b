import Foundation
import Synchronization

/// A RabbitMQ broker of the tests' own, which ends with them.
package final class RabbitMQServer: Sendable {
    private static let started = Mutex<Result<RabbitMQServer, any Error>?>(nil)

    /// The one that the tests of a process share; started by whoever asks first.
    package static func shared() throws -> RabbitMQServer {
        try started.withLock { started in
            let result = started ?? Result { try RabbitMQServer() }
            started = result
            return try result.get()
        }
    }

    private struct State {
        var process: Process
        var input: FileHandle
        var output: FileHandle
        var identifier: Int32
    }

    /// Where it listens.
    package let port: Int
    private let state: Mutex<State>

    private init() throws {
        let process = Process(), input = Pipe(), output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        let script = URL(filePath: #filePath).resolvingSymlinksInPath().deletingLastPathComponent().appending(path: "rabbitmq.sh").path
        process.arguments = [script]
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        let (port, identifier) = try Self.answer(output.fileHandleForReading)
        self.port = port
        state = Mutex(State(process: process, input: input.fileHandleForWriting, output: output.fileHandleForReading, identifier: identifier))
    }

    private static func line(_ output: FileHandle) throws -> String {
        var text = ""
        while !text.hasSuffix("\n") {
            let data = output.availableData
            if data.isEmpty { throw TestFailure("RabbitMQ did not start") }
            text += String(decoding: data, as: UTF8.self)
        }
        return text
    }

    private static func answer(_ output: FileHandle) throws -> (port: Int, identifier: Int32) {
        let text = try line(output)
        var values: [String: String] = [:]
        for word in text.split(whereSeparator: \.isWhitespace) {
            let parts = word.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { values[String(parts[0])] = String(parts[1]) }
        }
        guard let port = values["PORT"].flatMap({ Int($0) }), let identifier = values["PID"].flatMap({ Int32($0) }) else {
            throw TestFailure("RabbitMQ answered \(text)")
        }
        return (port, identifier)
    }

    /// Lets it write down what queues there are: a crash a moment after the declaration of one forgets it.
    package func note() throws {
        try state.withLock { state in
            try state.input.write(contentsOf: Data("note\n".utf8))
            let answer = try Self.line(state.output)
            guard answer.hasPrefix("NOTED dumped") else { throw TestFailure("RabbitMQ answered \(answer)") }
        }
    }

    /// Kills it, as a crash does.
    package func kill() { state.withLock { _ = Glibc.kill($0.identifier, SIGKILL) } }

    /// Starts it again, with its data.
    package func restart() throws {
        try state.withLock { state in
            try state.input.write(contentsOf: Data("start\n".utf8))
            state.identifier = try Self.answer(state.output).identifier
        }
    }
}
