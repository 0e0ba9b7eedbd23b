import Logging
import TandemCore
import TandemLocal
import TandemTestSupport
import Testing

@testable import TandemPostgres

func firstNode() async throws -> LocalNode {
    try #require(try await PostgresNodes.shared.cluster().nodes.first)
}

/// Gives the body a session of its own on a real server.
func withSession<Value>(
    logger: Logger? = nil, _ body: (RawSession) async throws -> Value
) async throws -> Value {
    let session = try await RawSession.open(try await firstNode().conninfo, logger: logger)
    do {
        let value = try await body(session)
        await session.close()
        return value
    } catch {
        await session.close()
        throw error
    }
}

extension RawSession {
    /// Sends one message of one segment, each statement prepared and cached.
    func send(_ texts: String...) async throws -> SegmentReply {
        try await connection.run(Batch(texts.map { Statement($0) }), deadline: .now + .seconds(60)).only
    }

    func isClosed() async -> Bool {
        let connection = connection
        return await confined(to: connection.reactor) { connection.isClosed }
    }

    func waitUntilClosed() async throws {
        try await wait(for: "the connection to close") { await isClosed() }
    }
}

/// Waits until a backend is in this state: a condition on its row of pg_stat_activity.
func waitForBackend(_ backend: Int32, _ condition: String, through session: RawSession) async throws {
    try await wait(for: "backend \(backend): \(condition)") {
        try await session.value("SELECT count(*) FROM pg_stat_activity WHERE pid = \(backend) AND \(condition)") == "1"
    }
}

func waitForEnd(of backend: Int32, through session: RawSession) async throws {
    try await wait(for: "the end of backend \(backend)") {
        try await session.value("SELECT count(*) FROM pg_stat_activity WHERE pid = \(backend)") == "0"
    }
}
