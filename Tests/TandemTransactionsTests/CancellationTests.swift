import TandemCluster
import TandemCore
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemTransactions

/// A statement is cancelled over recovery's connection, so the guards can be told apart from `PQcancel`, which has none.
@Suite("Cancelling at the server")
struct CancellationTests {
    private let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"

    private func start(_ test: TestCluster, _ statement: SQL) async throws -> Task<Int, any Error> {
        let task = Task { try await test.cluster["n1"].execute(statement) }
        try await wait(for: "the statement") { try await test.value("n1", sleeping) == "1" }
        return task
    }

    @Test("a cancelled task's statement is stopped by pg_cancel_backend, from a session of the cluster")
    func stops() async throws {
        try await withCluster(1) { test in
            let task = try await start(test, "SELECT pg_sleep(600)")
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            #expect(try await test.value("n1", sleeping) == "0")
            let asked = try await test.value(
                "n1",
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_cancel_backend%' AND application_name = 'tandem' AND datname = current_database()")
            #expect(asked == "1")
        }
    }

    @Test("a session that bears another name is not cancelled by number alone; its connection is closed all the same")
    func guarded() async throws {
        try await withCluster(1) { test in
            let session = try await RawSession.open(try test.conninfo("n1"))
            try await session.run("SET application_name = 'somebody else'")
            let running = Task { try await session.value("SELECT pg_sleep(600)") }
            try await wait(for: "the statement") { try await test.value("n1", sleeping) == "1" }
            _ = try await test.cluster.runControl("n1", Batch([Statement("SELECT 1")]), within: .seconds(10))
            let start = try await test.value("n1", "SELECT backend_start FROM pg_stat_activity WHERE pid = \(session.backend)")
            let control = try #require(test.cluster.control["n1"])
            let asked = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_cancel_backend%' AND state = 'idle' AND datname = current_database()"
            for start in [start ?? "", "2020-01-01"] {
                SessionCancellation(backend: session.backend, start: start, control: control).run { Issue.record("the node was asked") }
                try await wait(for: "the question") { try await test.value("n1", asked) != "0" }
                _ = try await test.cluster.runControl("n1", Batch([Statement("SELECT 1")]), within: .seconds(10))
            }
            #expect(try await test.value("n1", sleeping) == "1")
            await session.close()
            _ = await running.result
        }
    }

    @Test("where recovery's connections are busy or gone, the cancel goes the other way")
    func otherwise() async throws {
        try await withCluster(1) { test in
            let task = try await start(test, "SELECT pg_sleep(600)")
            let control = try #require(test.cluster.control["n1"])
            await confined(to: control.reactor) { control.close() }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            #expect(try await test.value("n1", sleeping) == "0")
        }
    }
}
