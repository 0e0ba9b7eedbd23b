import TandemCluster
import TandemCore
import TandemInbox
import TandemLocal
import TandemMessaging
import TandemPostgres
import TandemTestSupport
import TandemTransactions

/// The inbox of a node.
struct InboxUnderTest: SinkUnderTest {
    private let test: TestCluster
    let topic = uniqueName()

    static func with(_ body: (any SinkUnderTest) async throws -> Void) async throws {
        try await withCluster(1, modules: [.inbox]) { try await body(InboxUnderTest(test: $0)) }
    }

    func sink() -> any Sink { InboxSink(test.cluster, on: "n1", queue: "test") }

    /// Nobody is let in any more.
    func takeDown() async throws {
        let server = try test.local.node("n1").superuserConninfo
        try await sql(server, "ALTER DATABASE \(test.database) ALLOW_CONNECTIONS false")
        try await sql(server, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '\(test.database)'")
    }

    func bringBack() async throws { try await sql(try test.local.node("n1").superuserConninfo, "ALTER DATABASE \(test.database) ALLOW_CONNECTIONS true") }

    func withoutAnswer(_ body: (any Sink, @escaping @Sendable () async throws -> Bool) async throws -> Void) async throws {
        let session = try await test.session("n1")
        try await session.run("BEGIN")
        try await session.run("LOCK TABLE tandem.inbox_queue")
        try await body(sink()) { try await test.waiting("n1") > 0 }
        try await wait(for: "the end of the statement") { try await test.waiting("n1") == 0 }
        await session.close()
    }

    func arrived(atLeast count: Int) async throws -> [Event] {
        try await test.cluster["n1"].query(
            """
            SELECT q.id::text, q.topic, q.key, q.headers::text, q.content_type, q.payload,
                pg_catalog.to_char(q.published_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
            FROM tandem.inbox_queue q ORDER BY q.place
            """, as: String.self, String.self, String?.self, String?.self, String.self, [UInt8].self, String.self
        ).map { id, topic, key, headers, type, payload, time in
            Event(id: id, topic: topic, key: key, headers: Event.Header.stored(headers), contentType: type, payload: payload, time: time)
        }
    }
}
