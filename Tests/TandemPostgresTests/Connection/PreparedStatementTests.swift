import TandemCore
import TandemTestSupport
import Testing

@testable import TandemPostgres

@Suite("Prepared statements")
struct PreparedStatementTests {
    private func prepared(_ session: RawSession) async throws -> Int {
        Int(try await session.value("SELECT count(*) FROM pg_prepared_statements") ?? "") ?? -1
    }

    @Test("a text is prepared once and used again")
    func reuse() async throws {
        try await withSession { session async throws in
            for _ in 0..<5 { #expect(try await session.send("SELECT 1", "SELECT 1", "SELECT 2").error == nil) }
            #expect(try await prepared(session) == 2)
        }
    }

    @Test("the server keeps at most as many as the bound allows, however many texts there are")
    func bound() async throws {
        try await withSession { session async throws in
            for index in 0..<300 { #expect(try await session.send("SELECT \(index)").results.first?.text(0, 0) == "\(index)") }
            #expect(try await prepared(session) <= StatementCache.capacity)
            // One that was thrown out comes back, one that is there is used.
            #expect(try await session.send("SELECT 0", "SELECT 299").error == nil)
            #expect(try await prepared(session) <= StatementCache.capacity)
        }
    }

    @Test("the bound holds for many new texts in one message")
    func boundInOneMessage() async throws {
        try await withSession { session in
            for round in 0..<3 {
                let batch = Batch((0..<300).map { Statement("SELECT \(round * 300 + $0)") })
                let reply = try await session.connection.run(batch, deadline: .now + .seconds(60)).only
                #expect(reply.error == nil && reply.results.count == 300)
            }
            #expect(try await prepared(session) <= StatementCache.capacity + 300)
            for index in 0..<400 { _ = try await session.send("SELECT 'later', \(index)") }
            #expect(try await prepared(session) <= StatementCache.capacity)
        }
    }

    @Test("what has to make room is removed at the server also when the message that was to remove it fails")
    func boundWithErrors() async throws {
        try await withSession { session in
            for index in 0..<256 { _ = try await session.send("SELECT \(index)") }
            for index in 0..<20 {
                // The error comes first, so that what follows is skipped; then another text takes the room.
                #expect(try await session.send("SELECT 1/0", "SELECT 'new', \(index)").error != nil)
                _ = try await session.send("SELECT 'another', \(index)")
            }
            _ = try await session.send("SELECT 'last'")
            #expect(try await prepared(session) <= StatementCache.capacity)
        }
    }

    @Test("a failed transaction can be ended when there is no room for another statement")
    func endWithoutRoom() async throws {
        try await withSession { session in
            for index in 0..<256 { _ = try await session.send("SELECT \(index)") }
            #expect(try await session.send("BEGIN", "SELECT 1/0").status == .failed)
            let reply = try await session.send("ROLLBACK")
            #expect(reply.error == nil && reply.status == .idle)
        }
    }

    @Test("a statement whose first parse fails is not kept")
    func failedParse() async throws {
        try await withSession { session in
            let text = "SELECT * FROM comes_later"
            #expect(try await session.send(text).error?.sqlState == .undefinedTable)
            _ = try await session.send("CREATE TEMP TABLE comes_later (id int)")
            #expect(try await session.send(text).error == nil)
        }
    }

    @Test("a text that is new in a segment which fails first works in the next segment of the same message")
    func sameTextInTwoSegments() async throws {
        try await withSession { session in
            let batch = Batch(segments: [[Statement("SELECT 1/0"), Statement("SELECT 'both'")], [Statement("SELECT 'both'")], [Statement("SELECT 'both'")]])
            let reply = try await session.connection.run(batch, deadline: .now + .seconds(60))
            #expect(reply.segments[1].error == nil && reply.segments[2].error == nil)
            #expect(reply.segments[2].results.first?.text(0, 0) == "both")
            // Only what the driver remembers is kept at the server: here the text that failed when it ran.
            #expect(try await prepared(session) == 1)
        }
    }

    @Test("a statement whose table got another column fails once and works again")
    func changedTable() async throws {
        try await withSession { session in
            _ = try await session.send("CREATE TEMP TABLE t (a int)")
            #expect(try await session.send("SELECT * FROM t").error == nil)
            _ = try await session.send("ALTER TABLE t ADD COLUMN b int")
            let error = try await session.send("SELECT * FROM t").error
            #expect(error?.isOfStalePlan == true)
            let reply = try await session.send("SELECT * FROM t")
            #expect(reply.error == nil && reply.results.first?.columnCount == 2)
        }
    }

    @Test("what cannot share a message runs also when statements have to be removed first")
    func alone() async throws {
        try await withSession { session in
            _ = try await session.send("CREATE TEMP TABLE t (a int)")
            _ = try await session.send("SELECT * FROM t")
            _ = try await session.send("ALTER TABLE t ADD COLUMN b int")
            #expect(try await session.send("SELECT * FROM t").error?.isOfStalePlan == true)
            // Refused as COMMIT PREPARED is, with any statement before it.
            #expect(try await session.send("VACUUM t").error == nil)
            for index in 0..<256 { _ = try await session.send("SELECT \(index)") }
            #expect(try await session.send("VACUUM (FREEZE) t").error == nil)
            #expect(try await session.send("VACUUM (ANALYZE) t").error == nil)
        }
    }

    @Test("a statement that is gone at the server already harms nobody when it has to be removed")
    func goneAlready() async throws {
        try await withSession { session in
            for index in 0..<256 { _ = try await session.send("SELECT \(index)") }
            // The one used longest ago, which makes room.
            let name = try await session.value("SELECT name FROM pg_prepared_statements WHERE statement = 'SELECT 0'")
            _ = try await session.connection.run(Batch([Statement("DEALLOCATE \(name ?? "")", isPrepared: false)]))
            _ = try await session.send("SELECT 'new'")
            let reply = try await session.send("SELECT 'next'")
            #expect(reply.error == nil && reply.results.first?.text(0, 0) == "next")
        }
    }

    @Test("a user's DEALLOCATE ALL is noticed", arguments: ["DEALLOCATE ALL", "DISCARD ALL"])
    func deallocateAll(text: String) async throws {
        try await withSession { session in
            _ = try await session.send("SELECT 1")
            _ = try await session.connection.run(Batch([Statement(text, isPrepared: false)]))
            #expect(try await session.send("SELECT 1").error == nil)
        }
    }

    @Test("a user's own PREPARE does not meet our names")
    func names() async throws {
        try await withSession { session in
            for name in ["t1", "s1", "p1", "stmt1"] {
                _ = try await session.connection.run(Batch([Statement("PREPARE \(name) AS SELECT 1", isPrepared: false)]))
            }
            for index in 0..<5 { #expect(try await session.send("SELECT \(index)").error == nil) }
        }
    }
}
