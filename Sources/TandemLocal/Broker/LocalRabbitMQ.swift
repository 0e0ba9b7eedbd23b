import Foundation
import Synchronization
import TandemCore

/// A RabbitMQ broker of this process's own, on loopback, which ends with it: for tests and measurements.
package final class LocalRabbitMQ: Sendable {
    private struct State {
        var process: Process
        var input: FileHandle
        var output: FileHandle
        var identifier: Int32
    }

    /// What a client of it knows that speaks TLS.
    package struct TLS: Sendable {
        /// Where it listens; it shows a certificate of `localhost`.
        package let port: Int
        /// The file of that certificate, which is its own authority.
        package let certificate: String
        /// The file of another authority's certificate.
        package let other: String
    }

    /// Where it listens.
    package let port: Int
    /// Whether it speaks TLS, too.
    package let tls: TLS?
    private let state: Mutex<State>

    /// Whether the machine has a RabbitMQ.
    package static var isInstalled: Bool {
        ((try? FileManager.default.contentsOfDirectory(atPath: "/usr/lib/rabbitmq/lib")) ?? []).contains { $0.hasPrefix("rabbitmq_server-") }
    }

    /// Starts one, in a folder of its own that goes with it; it takes about six seconds.
    ///
    /// - Parameter isEncrypting: whether it speaks TLS, too, at another port; that needs `openssl`.
    /// - Returns: the broker, which answers.
    /// - Throws: `localNodeFailed`.
    package static func start(withTLS isEncrypting: Bool = false) async throws -> LocalRabbitMQ {
        try await waiting { try LocalRabbitMQ(withTLS: isEncrypting) }
    }

    /// Waits on a thread of its own: what it waits for takes seconds, and a thread of Swift's pool would stand still with everybody's tasks.
    private static func waiting<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in Thread.detachNewThread { continuation.resume(with: Result { try body() }) } }
    }

    private init(withTLS isEncrypting: Bool) throws {
        let process = Process(), input = Pipe(), output = Pipe()
        process.executableURL = URL(fileURLWithPath: "/bin/bash")
        process.arguments = ["-c", String(decoding: PackageResources.rabbitmq_sh, as: UTF8.self), "rabbitmq.sh"] + (isEncrypting ? ["tls"] : [])
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        let (port, tls, identifier) = try Self.answer(output.fileHandleForReading)
        self.port = port
        self.tls = tls
        state = Mutex(State(process: process, input: input.fileHandleForWriting, output: output.fileHandleForReading, identifier: identifier))
    }

    private static func failure(_ problem: String) -> TandemError {
        TandemError(.localNodeFailed, "RabbitMQ \(problem)", nextStep: "install it: sudo apt-get install -y rabbitmq-server")
    }

    private static func line(_ output: FileHandle) throws -> String {
        var text = ""
        while !text.hasSuffix("\n") {
            let data = output.availableData
            if data.isEmpty { throw failure("did not start") }
            text += String(decoding: data, as: UTF8.self)
        }
        return text
    }

    private static func answer(_ output: FileHandle) throws -> (port: Int, tls: TLS?, identifier: Int32) {
        let text = try line(output)
        var values: [String: String] = [:]
        for word in text.split(whereSeparator: \.isWhitespace) {
            let parts = word.split(separator: "=", maxSplits: 1)
            if parts.count == 2 { values[String(parts[0])] = String(parts[1]) }
        }
        guard let port = values["PORT"].flatMap({ Int($0) }), let tls = values["TLS"].flatMap({ Int($0) }), let folder = values["FOLDER"],
            let identifier = values["PID"].flatMap({ Int32($0) })
        else { throw failure("answered \(text)") }
        return (port, tls == 0 ? nil : TLS(port: tls, certificate: "\(folder)/certificate.pem", other: "\(folder)/other.pem"), identifier)
    }

    /// Lets it write down what queues there are: a crash a moment after the declaration of one forgets it.
    package func note() async throws {
        try await Self.waiting {
            try self.state.withLock { state in
                try state.input.write(contentsOf: Data("note\n".utf8))
                let answer = try Self.line(state.output)
                guard answer.hasPrefix("NOTED dumped") else { throw Self.failure("answered \(answer)") }
            }
        }
    }

    /// Kills it, as a crash does.
    package func kill() { state.withLock { _ = Glibc.kill($0.identifier, SIGKILL) } }

    /// Stops its process as it is: its connections stand, and it reads nothing.
    package func freeze() { state.withLock { _ = Glibc.kill($0.identifier, SIGSTOP) } }

    /// Lets it go on.
    package func thaw() { state.withLock { _ = Glibc.kill($0.identifier, SIGCONT) } }

    /// Starts it again, with its data.
    package func restart() async throws {
        try await Self.waiting {
            try self.state.withLock { state in
                try state.input.write(contentsOf: Data("start\n".utf8))
                state.identifier = try Self.answer(state.output).identifier
            }
        }
    }
}
