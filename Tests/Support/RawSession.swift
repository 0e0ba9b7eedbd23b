package import Logging
import TandemCore
package import TandemPostgres

/// A session of a test with a server, without anything of Tandem's between: what psql would be.
package struct RawSession: Sendable {
    package let connection: Connection

    package init(connection: Connection) { self.connection = connection }

    package static func open(
        _ conninfo: String, password: String? = nil, on reactor: Reactor = testReactor, logger: Logger? = nil
    ) async throws -> RawSession {
        let parameters = ConnectionParameters(conninfo: conninfo, password: password, settings: [], applicationName: "tests")
        return try await open(parameters, on: reactor, logger: logger)
    }

    package static func open(_ parameters: ConnectionParameters, on reactor: Reactor = testReactor, logger: Logger? = nil) async throws -> RawSession {
        let logger = logger ?? Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }
        let connection: Connection = try await withCheckedThrowingContinuation { continuation in
            Connector(parameters).connect(on: reactor, logger: logger) { continuation.resume(with: $0) }
        }
        return RawSession(connection: connection)
    }

    package var backend: Int32 { connection.backend }

    /// Runs one statement and returns its rows as text.
    @discardableResult
    package func run(_ text: String, _ parameters: String...) async throws -> [[String?]] {
        let statement = Statement(text, parameters: ParameterBuffer(texts: parameters), isPrepared: false)
        let reply = try await connection.run(Batch([statement]), deadline: .now + .seconds(60)).only
        if let error = reply.error { throw error }
        guard let result = reply.results.last else { throw TestFailure("no answer to \(text)") }
        return (0..<result.rowCount).map { row in (0..<result.columnCount).map { result.text(row, $0) } }
    }

    /// The first column of the first row.
    package func value(_ text: String, _ parameters: String...) async throws -> String? {
        let statement = Statement(text, parameters: ParameterBuffer(texts: parameters), isPrepared: false)
        let reply = try await connection.run(Batch([statement]), deadline: .now + .seconds(60)).only
        if let error = reply.error { throw error }
        return reply.results.last.flatMap { $0.rowCount > 0 ? $0.text(0, 0) : nil }
    }

    package func close() async {
        let connection = connection
        await confined(to: connection.reactor) { connection.close() }
    }
}

/// Runs statements in a session of their own; the answer is the first value of the last one.
@discardableResult
package func sql(_ conninfo: String, _ statements: String...) async throws -> String? {
    let session = try await RawSession.open(conninfo)
    do {
        var answer: String?
        for statement in statements { answer = try await session.value(statement) }
        await session.close()
        return answer
    } catch {
        await session.close()
        throw error
    }
}
