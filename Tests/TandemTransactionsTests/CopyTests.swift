import Synchronization
import TandemCluster
import TandemCore
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemTransactions

@Suite("COPY")
struct CopyTests {
    /// For statements that wait for a lock of the test, or have much to carry.
    private static let patience: @Sendable (inout ClusterConfiguration) -> Void = {
        ($0.nodes[0].lockTimeout, $0.nodes[0].statementTimeout) = (.seconds(300), .seconds(300))
    }

    /// Chunks of a text, cut wherever they happen to end.
    private func chunks(_ text: String, of size: Int = 7) -> AsyncStream<ArraySlice<UInt8>> {
        let bytes = Array(text.utf8)
        return AsyncStream { continuation in
            for start in stride(from: 0, to: bytes.count, by: size) { continuation.yield(bytes[start..<min(start + size, bytes.count)]) }
            continuation.finish()
        }
    }

    @Test("rows go in and come out as they were, beside other statements of a transaction over two nodes")
    func roundTrip() async throws {
        try await withCluster { test in
            let lines = (1000..<30_000).map { "\($0),\($0 % 997)\n" }.joined()
            let out = try await test.cluster.transaction { tx in
                try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1")
                let rows = try await tx["n1"].copyIn("COPY account FROM STDIN (FORMAT csv)", from: chunks(lines, of: 1001))
                #expect(rows == 29_000)
                try await tx["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = 1")
                return try await tx["n1"].copyOut("COPY (SELECT * FROM account WHERE id >= 1000 ORDER BY id) TO STDOUT (FORMAT csv)") { rows in
                    var bytes: [UInt8] = []
                    for try await chunk in rows {
                        #expect(chunk.last == UInt8(ascii: "\n"))
                        bytes += chunk
                    }
                    return bytes
                }
            }
            #expect(String(decoding: out.value, as: UTF8.self) == lines)
            try await test.expectMoved()
            #expect(try await test.count("n1", "account") == TestCluster.accounts + 29_000)
        }
    }

    @Test("binary goes both ways between nodes")
    func binary() async throws {
        try await withCluster { test in
            let bytes = try await test.cluster["n1"].copyOut("COPY account TO STDOUT (FORMAT binary)") { rows in
                try await rows.reduce(into: [UInt8]()) { $0 += $1 }
            }
            try await test.cluster["n2"].execute("DELETE FROM account")
            let source = AsyncStream { continuation in
                continuation.yield(bytes)
                continuation.finish()
            }
            #expect(try await test.cluster["n2"].copyIn("COPY account FROM STDIN (FORMAT binary)", from: source) == TestCluster.accounts)
            #expect(try await test.total() == test.expectedTotal)
        }
    }

    @Test("a row that is refused, a source that fails and a statement that is none leave nothing, and the pool goes on", arguments: [0, 1, 2])
    func fails(kind: Int) async throws {
        try await withCluster(
            1,
            {
                $0.reactors = 1; $0.nodes[0].pool.maximum = 1
            }
        ) { test in
            let node = test.cluster["n1"]
            switch kind {
            case 0:
                let error = await refusal { try await node.copyIn("COPY account FROM STDIN (FORMAT csv)", from: chunks("500,1\n501,x\n502,1\n")) }
                #expect(error?.sqlState == .invalidTextRepresentation && error?.effect == .rolledBack)
            case 1:
                let source = AsyncThrowingStream<[UInt8], any Error> { continuation in
                    continuation.yield(Array("500,1\n".utf8))
                    continuation.finish(throwing: OwnError(number: 4))
                }
                await #expect(throws: OwnError(number: 4)) { try await node.copyIn("COPY account FROM STDIN (FORMAT csv)", from: source) }
            default:
                let other = await refusal { try await node.copyIn("UPDATE account SET balance = 0", from: chunks("x")) }
                #expect(other?.code == .statementRefused)
                let missing = await refusal { try await node.copyIn("COPY nowhere FROM STDIN", from: chunks("x")) }
                #expect(missing?.sqlState == .undefinedTable)
                let wrongWay = await refusal { try await node.copyOut("COPY nowhere TO STDOUT") { _ in } }
                #expect(wrongWay?.sqlState == .undefinedTable)
            }
            #expect(try await test.count("n1", "account WHERE id >= 500") == 0)
            let after = try await node.query("SELECT count(*) FROM account", as: Int.self)
            #expect(after.first == .some(TestCluster.accounts))
        }
    }

    @Test("a reader that has seen enough leaves the transaction usable, one that is cancelled closes the connection")
    func leaves() async throws {
        try await withCluster(1) { test in
            let count = try await test.cluster.transaction { tx in
                let first = try await tx["n1"].copyOut("COPY (SELECT repeat('x', 100) FROM generate_series(1, 200000)) TO STDOUT") { rows in
                    for try await chunk in rows { return chunk.count }
                    return 0
                }
                #expect(first > 0)
                return try await tx["n1"].execute("UPDATE account SET balance = 7 WHERE id = 1")
            }
            #expect(count.value == 1)
            let task = Task {
                try await test.cluster["n1"].copyOut("COPY (SELECT pg_sleep(600)) TO STDOUT") { rows in for try await _ in rows {} }
            }
            try await wait(for: "the statement") {
                try await test.value("n1", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()") == "1"
            }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
        }
    }

    private final class Counter: Sendable {
        let value = Atomic<Int>(0)
    }

    @Test("a reader that is slow slows the server down, and a server that is slow its sender")
    func backPressure() async throws {
        try await withCluster(1, Self.patience) { test in
            // A server that waits at its first row.
            let session = try await test.session("n1")
            try await session.run("BEGIN")
            try await session.run("LOCK TABLE account IN ACCESS EXCLUSIVE MODE")
            let produced = Counter()
            let source = AsyncStream<[UInt8]>(unfolding: {
                let number = produced.value.add(1, ordering: .relaxed).newValue
                return number > 400 ? nil : (0..<4000).flatMap { Array("\(number * 10_000 + $0),1\n".utf8) }
            })
            let task = Task { try await test.cluster["n1"].copyIn("COPY account FROM STDIN (FORMAT csv)", from: source, timeout: .seconds(300)) }
            try await wait(for: "the lock") {
                try await test.value("n1", "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()") == "1"
            }
            // Nothing is taken before the statement runs: one chunk waits, and its sender with it.
            for _ in 0..<20 { await tick() }
            #expect(produced.value.load(ordering: .relaxed) < 10)
            try await session.run("ROLLBACK")
            await session.close()
            #expect(try await task.value == 400 * 4000)

            // A reader that stops after its first chunk: the server cannot send more than what the bound and the socket hold.
            try await test.cluster["n1"].copyOut("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 100000)) TO STDOUT", timeout: .seconds(300)) { rows in
                var isFirst = true
                for try await _ in rows {
                    guard isFirst else { continue }
                    isFirst = false
                    try await wait(for: "the server to wait for its reader") {
                        try await test.value("n1", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'ClientWrite' AND datname = current_database()")
                            == "1"
                    }
                }
            }
        }
    }

    @Test("a notice before the server is ready loses no chunk")
    func notice() async throws {
        try await withCluster(1, Self.patience) { test in
            let column = String(repeating: "x", count: 63)
            try await test.value("n1", "ALTER TABLE account ADD COLUMN \(column) int")
            let session = try await test.session("n1")
            try await session.run("BEGIN")
            try await session.run("LOCK TABLE account IN ACCESS EXCLUSIVE MODE")
            // A name that is too long brings a notice at once; then the statement waits for the lock.
            let copy = SQL("COPY account (id, balance) FROM STDIN (FORMAT csv) WHERE \(column)yyy IS NULL", parameters: [])
            let lines = (1000..<31_000).map { "\($0),1\n" }.joined()
            let task = Task { try await test.cluster["n1"].copyIn(copy, from: chunks(lines, of: 65_536), timeout: .seconds(300)) }
            try await wait(for: "the lock") {
                try await test.value("n1", "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()") == "1"
            }
            for _ in 0..<20 { await tick() }
            try await session.run("ROLLBACK")
            await session.close()
            let fine = try await task.value
            #expect(fine == 30_000)
        }
    }

    @Test("a COPY the other way, or from a file of the server, is refused and rolled back")
    func direction() async throws {
        try await withCluster(1) { test in
            let node = test.cluster["n1"]
            let out = await refusal { try await node.copyOut("COPY account FROM STDIN") { rows in for try await _ in rows {} } }
            #expect(out?.effect == .rolledBack)
            let into = await refusal { try await node.copyIn("COPY account TO STDOUT", from: chunks("x")) }
            #expect(into?.code == .statementRefused && into?.effect == .rolledBack)
            let after = try await node.query("SELECT count(*) FROM account", as: Int.self)
            #expect(after.first == .some(TestCluster.accounts))
        }
    }
}
