import Logging
import TandemCore
import TandemTestSupport
import Testing

@testable import TandemPostgres

@Suite("A connection to a real server")
struct ConnectionTests {
    @Test("answers with rows, columns and the tag of each statement")
    func results() async throws {
        try await withSession { session in
            let reply = try await session.send(
                "CREATE TEMP TABLE t (id int, name text)", "INSERT INTO t VALUES (1, 'a'), (2, NULL)", "SELECT id, name FROM t ORDER BY id",
                "UPDATE t SET id = id + 1",
                "DELETE FROM t")
            #expect(reply.error == nil)
            #expect(reply.results.map(\.tag) == ["CREATE TABLE", "INSERT 0 2", "SELECT 2", "UPDATE 2", "DELETE 2"])
            #expect(reply.results.map(\.affectedRows) == [0, 2, 2, 2, 2])
            #expect(reply.results[2].shape.names == ["id", "name"])
            #expect(reply.results[2].text(0, 1) == "a" && reply.results[2].text(1, 1) == nil)
            #expect(reply.status == .idle)
        }
    }

    @Test("an empty statement has no tag and harms nothing")
    func emptyStatement() async throws {
        try await withSession { session in
            let reply = try await session.send("", "SELECT 1")
            #expect(reply.error == nil)
            #expect(reply.lastTag == "SELECT 1")
        }
    }

    @Test("an error of a statement leaves the connection usable")
    func errorLeavesUsable() async throws {
        try await withSession { session in
            let reply = try await session.send("SELECT 1/0")
            #expect(reply.error?.sqlState.rawValue == "22012")
            #expect(reply.status == .idle)
            #expect(try await session.value("SELECT 7") == "7")
        }
    }

    @Test("an error skips the rest of its segment and not the next segment")
    func errorEndsSegment() async throws {
        try await withSession { session in
            let batch = Batch(segments: [
                [Statement("SELECT 1"), Statement("SELECT 1/0"), Statement("SELECT 3")], [Statement("SELECT 4")], [Statement("SELECT 5")],
            ])
            let reply = try await session.connection.run(batch, deadline: .now + .seconds(60))
            #expect(reply.segments.map { $0.results.count } == [1, 1, 1])
            #expect(reply.segments.map { $0.error == nil } == [false, true, true])
            #expect(reply.segments[1].results[0].text(0, 0) == "4")
        }
    }

    @Test("a segment outside a block is one transaction")
    func segmentIsATransaction() async throws {
        try await withSession { session in
            _ = try await session.send("CREATE TEMP TABLE t (id int)")
            #expect(try await session.send("INSERT INTO t VALUES (1)", "SELECT 1/0").error != nil)
            #expect(try await session.value("SELECT count(*) FROM t") == "0")
        }
    }

    @Test("a failed transaction says so, and COMMIT then answers ROLLBACK")
    func failedTransaction() async throws {
        try await withSession { session in
            #expect(try await session.send("BEGIN", "SELECT 1/0").status == .failed)
            let reply = try await session.send("COMMIT")
            #expect(reply.lastTag == "ROLLBACK" && reply.error == nil && reply.status == .idle)
        }
    }

    @Test("a COMMIT without a transaction is noticed")
    func commitWithoutTransaction() async throws {
        try await withSession { session in
            let reply = try await session.send("COMMIT")
            #expect(reply.hasTransactionWarning && !reply.isReplicationUnconfirmed)
            #expect(try await session.send("BEGIN").hasTransactionWarning == false)
            #expect(try await session.send("BEGIN").hasTransactionWarning)
        }
    }

    // MARK: Order

    @Test("overlapping calls run one after the other, in the order in which they were made")
    func order() async throws {
        try await withSession { session in
            _ = try await session.send("CREATE TEMP TABLE t (id serial, n int)")
            let connection = session.connection
            let order = Locked<[Int]>([])
            await withCheckedContinuation { continuation in
                connection.reactor.execute {
                    for index in 0..<50 {
                        connection.submit(Batch([Statement("INSERT INTO t (n) VALUES (\(index))", isPrepared: false)])) { _ in
                            order.withLock { $0.append(index) }
                            if index == 49 { continuation.resume() }
                        }
                    }
                }
            }
            #expect(order.withLock { $0 } == Array(0..<50))
            #expect(try await session.value("SELECT count(*) FROM t WHERE n <> id - 1") == "0")
        }
    }

    @Test("a call made inside the answer to another waits behind those that were made before")
    func orderWithinAnswers() async throws {
        try await withSession { session in
            let connection = session.connection
            let order = Locked<[String]>([])
            await withCheckedContinuation { continuation in
                connection.reactor.execute {
                    connection.submit(Batch([Statement("SELECT 1")])) { _ in
                        connection.submit(Batch([Statement("SELECT 3")])) { _ in
                            order.withLock { $0.append("from inside") }
                            continuation.resume()
                        }
                    }
                    connection.submit(Batch([Statement("SELECT 2")])) { _ in order.withLock { $0.append("earlier") } }
                }
            }
            #expect(order.withLock { $0 } == ["earlier", "from inside"])
        }
    }

    @Test("several connections of one reactor are asked at the same time, and answers keep the order of the calls")
    func gathering() async throws {
        try await withSession { one in
            try await withSession { two async throws in
                let deadline = ContinuousClock.now + .seconds(60)
                let calls = [(connection: one.connection, batch: Batch([Statement("SELECT 1")])), (two.connection, Batch([Statement("SELECT 2")]))]
                let answers = await Connection.gather(calls, on: testReactor, deadline: deadline)
                #expect(try answers.map { try $0.get().only.results[0].text(0, 0) } == ["1", "2"])
            }
        }
    }

    // MARK: Notices

    @Test("what the server says besides goes to the logger and not to the terminal")
    func notices() async throws {
        let said = Locked<[String]>([])
        var logger = Logger(label: "tests") { _ in KeptLog(said, .trace) }
        logger.logLevel = .debug
        try await withSession(logger: logger) { session in
            _ = try await session.send("DO $$ BEGIN RAISE NOTICE 'a word from inside'; END $$")
            #expect(said.withLock { $0.contains { $0.contains("a word from inside") } })
        }
    }

    @Test("a warning of a user's trigger with the code 01000 is not taken for one of replication")
    func forgedWarning() async throws {
        try await withSession { session in
            let reply = try await session.send("DO $$ BEGIN RAISE WARNING 'the transaction might not have been replicated' USING ERRCODE = '01000'; END $$")
            #expect(!reply.isReplicationUnconfirmed)
        }
    }

    // MARK: COPY

    @Test("COPY from and to the client is refused and says so", arguments: ["COPY (SELECT 1) TO STDOUT", "COPY t FROM STDIN"])
    func copy(text: String) async throws {
        try await withSession { session in
            _ = try await session.send("CREATE TEMP TABLE t (id int)")
            let failure = await #expect(throws: ConnectionFailure.self) { try await session.send(text) }
            #expect(failure?.kind == .refused)
            #expect(failure?.message.contains("COPY") == true)
            #expect(await session.isClosed())
        }
    }

    // MARK: Size

    @Test("a parameter and a result of several MiB pass in one message with others, both ways at once")
    func large() async throws {
        try await withSession { session in
            let text = String(repeating: "tandem ", count: 800_000)
            let large = Statement("SELECT $1::text || 'x'", parameters: ParameterBuffer(texts: [text]))
            let reply = try await session.connection.run(Batch([large, large, large]), deadline: .now + .seconds(60)).only
            #expect(reply.error == nil)
            #expect(reply.results.count == 3 && reply.results.allSatisfy { $0.text(0, 0) == text + "x" })
        }
    }

    @Test("a result of many rows arrives whole")
    func manyRows() async throws {
        try await withSession { session in
            let reply = try await session.send("SELECT i, repeat('x', 100) FROM generate_series(1, 50000) i")
            #expect(reply.results.first?.rowCount == 50000)
            #expect(reply.results.first?.text(49999, 0) == "50000")
        }
    }

    @Test("a text parameter with U+0000 is refused before anything is sent")
    func nul() async throws {
        let value = "before\0after"
        let error = #expect(throws: TandemError.self) { try Statement("SELECT \(value)::text" as SQL) }
        #expect(error?.code == .encodingFailed)
    }

    @Test("a text made by the library with U+0000 ends the program and is not cut")
    func nulInOwnText() async {
        await #expect(processExitsWith: .failure) { _ = ParameterBuffer(texts: ["before\0after"]) }
    }
}
