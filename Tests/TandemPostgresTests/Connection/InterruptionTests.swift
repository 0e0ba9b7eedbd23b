import Glibc
import TandemCore
import TandemLocal
import TandemTestSupport
import Testing

@testable import TandemPostgres

@Suite("A connection that is interrupted")
struct InterruptionTests {
    private static let longStatement = Statement("SELECT pg_sleep(600)")

    @Test("a deadline closes the connection, and the server's process goes away")
    func deadline() async throws {
        try await withSession { other in
            try await withSession { session in
                let connection = session.connection
                let failure = await #expect(throws: ConnectionFailure.self) {
                    try await withCheckedThrowingContinuation { continuation in
                        // On the reactor itself, so that it is sent before its time is over, however busy the machine is.
                        connection.reactor.execute {
                            connection.submit(Batch([Self.longStatement]), deadline: .now + .milliseconds(200)) { continuation.resume(with: $0) }
                        }
                    }
                }
                #expect(failure?.kind == .timedOut && failure?.wasSent == true)
                #expect(await session.isClosed())
                try await waitForEnd(of: session.backend, through: other)
            }
        }
    }

    @Test("a cancelled task closes the connection, and the server's process goes away")
    func cancellation() async throws {
        try await withSession { other in
            try await withSession { session in
                let task = Task { try await session.connection.run(Batch([Self.longStatement]), deadline: .now + .seconds(600)) }
                try await waitForBackend(session.backend, "wait_event = 'PgSleep'", through: other)
                task.cancel()
                let failure = await #expect(throws: ConnectionFailure.self) { try await task.value }
                #expect(failure?.kind == .cancelled && failure?.wasSent == true)
                #expect(await session.isClosed())
                try await waitForEnd(of: session.backend, through: other)
            }
        }
    }

    @Test("a call that is cancelled before it was sent is taken back, and the connection stays usable")
    func cancelledInLine() async throws {
        try await withSession { other in
            try await withSession { session in
                let key = Int(session.backend)
                _ = try await other.value("SELECT pg_advisory_lock(\(key))")
                let first = Task { try await session.value("SELECT pg_advisory_lock(\(key)), 'first'") }
                try await waitForBackend(session.backend, "wait_event_type = 'Lock'", through: other)
                let second = Task { try await session.connection.run(Batch([Statement("SELECT 'second'")])) }
                second.cancel()
                let failure = await #expect(throws: ConnectionFailure.self) { try await second.value }
                #expect(failure?.kind == .cancelled && failure?.wasSent == false)
                _ = try await other.value("SELECT pg_advisory_unlock(\(key))")
                _ = try await first.value
                #expect(try await session.value("SELECT 'third'") == "third")
            }
        }
    }

    @Test("a call whose deadline passes while it waits in line is taken back, and the connection stays usable")
    func lateInLine() async throws {
        try await withSession { other in
            try await withSession { session in
                let key = Int(session.backend)
                _ = try await other.value("SELECT pg_advisory_lock(\(key))")
                let first = Task { try await session.value("SELECT pg_advisory_lock(\(key))") }
                try await waitForBackend(session.backend, "wait_event_type = 'Lock'", through: other)
                let failure = await #expect(throws: ConnectionFailure.self) {
                    try await session.connection.run(Batch([Statement("SELECT 2")]), deadline: .now + .milliseconds(50))
                }
                #expect(failure?.kind == .timedOut && failure?.wasSent == false)
                _ = try await other.value("SELECT pg_advisory_unlock(\(key))")
                _ = try await first.value
                #expect(try await session.value("SELECT 3") == "3")
            }
        }
    }

    @Test("those who wait in line are told that they were not sent when the connection ends")
    func lineEnds() async throws {
        try await withSession { other in
            try await withSession { session in
                let first = Task { try await session.connection.run(Batch([Self.longStatement])) }
                try await waitForBackend(session.backend, "wait_event = 'PgSleep'", through: other)
                let connection = session.connection
                let second = Task { try await connection.run(Batch([Statement("SELECT 2")])) }
                try await wait(for: "the second call to queue") { await confined(to: connection.reactor) { connection.queueLength } == 1 }
                _ = try await other.value("SELECT pg_terminate_backend(\(session.backend))")
                let one = await #expect(throws: ConnectionFailure.self) { try await first.value }
                let two = await #expect(throws: ConnectionFailure.self) { try await second.value }
                #expect(one?.wasSent == true && two?.wasSent == false)
            }
        }
    }

    @Test("a session that the server ends while it runs reports a lost connection with 57P01")
    func terminatedWhileRunning() async throws {
        try await withSession { other in
            try await withSession { session in
                let task = Task { try await session.connection.run(Batch([Self.longStatement])) }
                try await waitForBackend(session.backend, "wait_event = 'PgSleep'", through: other)
                _ = try await other.value("SELECT pg_terminate_backend(\(session.backend))")
                let failure = await #expect(throws: ConnectionFailure.self) { try await task.value }
                #expect(failure?.kind == .lost && failure?.serverError?.sqlState == .adminShutdown)
            }
        }
    }

    @Test("a session that the server ends while it is idle is noticed without asking")
    func terminatedWhileIdle() async throws {
        try await withSession { other in
            try await withSession { session in
                _ = try await other.value("SELECT pg_terminate_backend(\(session.backend))")
                try await session.waitUntilClosed()
                let failure = await #expect(throws: ConnectionFailure.self) { try await session.connection.run(Batch([Statement("SELECT 1")])) }
                #expect(failure?.wasSent == false)
            }
        }
    }

    // MARK: Streams

    @Test("a stream delivers every row in order, with a bound on what waits")
    func stream() async throws {
        try await withSession { session in
            let connection = session.connection
            let stream = RowStream()
            let batch = Batch([Statement("SELECT i, repeat('x', 200) FROM generate_series(1, 20000) i")])
            connection.reactor.execute { connection.stream(batch, into: stream, deadline: nil) { _ in } }
            var next = 1
            var rows = RowSequence(stream, on: connection.reactor) { $0 }.makeAsyncIterator()
            while let row = try await rows.next() {
                #expect(try row.decode(as: String.self, String.self).0 == "\(next)")
                next += 1
                if next % 5000 == 0 { #expect(await confined(to: connection.reactor) { stream.queueLength } <= RowStream.bound) }
            }
            #expect(next == 20001)
            #expect(try await session.value("SELECT 1") == "1")
        }
    }

    @Test("rows of a stream hold NULLs, nothing, much and no columns, and are read by names")
    func valuesOfAStream() async throws {
        struct Row: Decodable, Equatable { var number: Int, longText: String?, empty: String }
        try await withSession { session in
            let connection = session.connection
            func rows(_ text: String) -> RowSequence {
                let stream = RowStream()
                connection.reactor.execute { connection.stream(Batch([Statement(text)]), into: stream, deadline: nil) { _ in } }
                return RowSequence(stream, on: connection.reactor) { $0 }
            }
            // Longer and longer, so that the rows of one block do not fit where the first ones did.
            let text = "SELECT i AS number, CASE WHEN i % 3 > 0 THEN repeat('é', i * i) END AS long_text, '' AS empty FROM generate_series(0, 600) i"
            var count = 0
            for try await row in rows(text) {
                let expected = Row(number: count, longText: count % 3 > 0 ? String(repeating: "é", count: count * count) : nil, empty: "")
                let byName: Row = try row.decode(Row.self)
                let byPlace: (Int, String?, String) = try row.decode(as: Int.self, String?.self, String.self)
                #expect(byName == expected && byPlace == (expected.number, expected.longText, expected.empty))
                count += 1
            }
            #expect(count == 601)
            var empty = 0
            for try await row in rows("SELECT FROM generate_series(1, 1000)") {
                try row.decode()
                empty += 1
            }
            #expect(empty == 1000)
            // The number of the row counts from the first one, whatever block it is in.
            let error = await #expect(throws: TandemError.self) {
                for try await row in rows("SELECT CASE WHEN i < 2000 THEN i END FROM generate_series(1, 3000) i") {
                    let _: Int = try row.decode(as: Int.self)
                }
            }
            #expect(error?.message.contains("of row 2000:") == true)
        }
    }

    @Test("a stream whose reader has seen enough leaves the connection usable")
    func drainedStream() async throws {
        try await withSession { session async throws in
            let connection = session.connection
            let stream = RowStream()
            connection.reactor.execute {
                connection.stream(Batch([Statement("SELECT i FROM generate_series(1, 20000) i")]), into: stream, deadline: nil) { _ in }
            }
            var rows = RowSequence(stream, on: connection.reactor) { $0 }.makeAsyncIterator()
            let first = try await rows.next()
            let text: String? = try first?.decode(as: String.self)
            #expect(text == "1")
            await confined(to: connection.reactor) { stream.drain() }
            #expect(try await session.value("SELECT 1") == "1")
        }
    }

    @Test("a stream that fails in the middle tells its reader")
    func failingStream() async throws {
        try await withSession { session in
            let connection = session.connection
            let stream = RowStream()
            connection.reactor.execute {
                connection.stream(Batch([Statement("SELECT 10 / (100 - i) FROM generate_series(1, 200) i")]), into: stream, deadline: nil) { _ in }
            }
            var rows = 0
            let error = await #expect(throws: ServerError.self) {
                for try await _ in RowSequence(stream, on: connection.reactor, describe: { $0 }) { rows += 1 }
            }
            #expect(error?.sqlState.rawValue == "22012")
            #expect(rows == 99)
        }
    }
}
