import Logging
import TandemCore
import TandemLocal
import TandemTestSupport
import Testing

@testable import TandemPostgres

/// Gives the body a pool to a real server on the tests' reactor, and closes it afterwards.
private func withPool<Value>(
    _ options: PoolOptions, conninfo: String? = nil, password: String? = nil, _ body: (Pool) async throws -> Value
) async throws -> Value {
    let node = try await firstNode()
    let parameters = ConnectionParameters(conninfo: conninfo ?? node.socketConninfo, password: password, connectTimeout: .seconds(10))
    let pool = Pool(
        node: "n1", reactor: testReactor, options: options, connector: Connector(parameters), reset: Batch([Statement("DISCARD ALL", isPrepared: false)]),
        logger: Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }, prepare: { _, done in done(.success(())) })
    do {
        let value = try await body(pool)
        await confined(to: testReactor) { pool.close() }
        return value
    } catch {
        await confined(to: testReactor) { pool.close() }
        throw error
    }
}

extension Pool {
    fileprivate func take(_ limit: Duration = .seconds(60)) async throws -> RawSession {
        RawSession(connection: try await lease(deadline: .now + limit))
    }

    fileprivate func give(_ session: RawSession, isDirty: Bool = false) async {
        await confined(to: reactor) {
            if isDirty { session.connection.markDirty() }
            self.release(session.connection)
        }
    }

    fileprivate func numbers() async -> (count: Int, queue: Int) { await confined(to: reactor) { (self.count, self.queueLength) } }
}

@Suite("A pool of connections to a real server")
struct PoolTests {
    @Test("opens a connection when it is needed, and lends the one used last again")
    func reuse() async throws {
        try await withPool(PoolOptions(maximum: 4)) { pool in
            #expect(await pool.numbers().count == 0)
            let one = try await pool.take(), two = try await pool.take()
            #expect(one.backend != two.backend)
            await pool.give(one)
            await pool.give(two)
            #expect(try await pool.take().backend == two.backend)
            #expect(await pool.numbers().count == 2)
        }
    }

    @Test("opens its minimum with the first lease, and again after connections were lost")
    func minimum() async throws {
        try await withPool(PoolOptions(minimum: 3, maximum: 5)) { pool in
            let session = try await pool.take()
            try await wait(for: "the minimum") { await pool.numbers().count == 3 }
            try await withSession { other in _ = try await other.value("SELECT pg_terminate_backend(\(session.backend))") }
            try await session.waitUntilClosed()
            try await wait(for: "the minimum again") { await pool.numbers().count == 3 }
        }
    }

    @Test("never opens more than its maximum, and lets others wait in line, first come first served")
    func maximum() async throws {
        try await withPool(PoolOptions(maximum: 2)) { pool in
            let one = try await pool.take(), two = try await pool.take()
            let served = Locked<[Int]>([])
            try await withThrowingTaskGroup { group in
                for index in 0..<5 {
                    group.addTask {
                        let session = try await pool.take()
                        served.withLock { $0.append(index) }
                        await pool.give(session)
                    }
                    try await wait(for: "waiter \(index)") { await pool.numbers().queue == index + 1 }
                }
                #expect(await pool.numbers().count == 2)
                await pool.give(one)
                try await group.waitForAll()
            }
            #expect(served.withLock { $0 } == [0, 1, 2, 3, 4])
            await pool.give(two)
        }
    }

    @Test("a waiter whose time is over is told how many are in use and how long the line is")
    func deadline() async throws {
        try await withPool(PoolOptions(maximum: 1)) { pool in
            let one = try await pool.take()
            let patient = Task { try await pool.take() }
            try await wait(for: "the waiter") { await pool.numbers().queue == 1 }
            let error = await #expect(throws: TandemError.self) { try await pool.take(.milliseconds(50)) }
            #expect(error?.code == .poolExhausted && error?.isRetrySafe == true && error?.node == "n1")
            #expect(error?.message.contains("1 of 1") == true && error?.message.contains("1 more") == true)
            await pool.give(one)
            await pool.give(try await patient.value)
        }
    }

    @Test("a waiter who is cancelled leaves the line", .timeLimit(.minutes(1)))
    func cancelledWaiter() async throws {
        try await withPool(PoolOptions(maximum: 1)) { pool in
            let one = try await pool.take()
            let task = Task { try await pool.take(.seconds(600)) }
            try await wait(for: "the waiter") { await pool.numbers().queue == 1 }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            #expect(await pool.numbers().queue == 0)
            await pool.give(one)
            #expect(try await pool.take().backend == one.backend)
        }
    }

    @Test("closes what is unused for longer than the idle time, down to the minimum")
    func pruning() async throws {
        try await withPool(PoolOptions(minimum: 1, maximum: 4, idleTime: .milliseconds(50))) { pool in
            let sessions = [try await pool.take(), try await pool.take(), try await pool.take()]
            for session in sessions { await pool.give(session) }
            try await wait(for: "the pruning") { await pool.numbers().count == 1 }
            #expect(await sessions[2].isClosed() == false)
        }
    }

    // MARK: What comes back

    @Test("a used session comes back as new: settings, locks, temporary tables, prepared statements and channels are gone")
    func reset() async throws {
        try await withPool(PoolOptions(maximum: 1)) { pool in
            let session = try await pool.take()
            let key = Int(session.backend)
            let initial = try await session.value("SELECT current_setting('work_mem')")
            _ = try await session.send(
                "SET work_mem = '17MB'", "SELECT pg_advisory_lock(\(key))", "CREATE TEMP TABLE leaves (id int)", "LISTEN leaves", "SET ROLE pg_read_all_stats")
            await pool.give(session, isDirty: true)
            let again = try await pool.take()
            #expect(again.backend == session.backend)
            #expect(try await again.value("SELECT current_setting('work_mem')") == initial)
            #expect(try await again.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()") == "0")
            #expect(try await again.value("SELECT to_regclass('pg_temp.leaves')") == nil)
            #expect(try await again.value("SELECT count(*) FROM pg_listening_channels()") == "0")
            #expect(try await again.value("SELECT current_user = session_user") == "t")
            // What was prepared before is gone at the server, and the driver knows.
            #expect(try await again.send("SELECT current_user = session_user").error == nil)
        }
    }

    @Test("a connection inside a transaction is closed and never lent again", arguments: ["BEGIN", "BEGIN; SELECT 1/0"])
    func insideTransaction(text: String) async throws {
        try await withPool(PoolOptions(maximum: 1)) { pool in
            let session = try await pool.take()
            _ = try await session.send("BEGIN")
            if text.contains("1/0") { _ = try await session.send("SELECT 1/0") }
            await pool.give(session)
            #expect(await session.isClosed())
            let next = try await pool.take()
            #expect(next.backend != session.backend)
        }
    }

    @Test("a connection whose reset fails is closed")
    func failingReset() async throws {
        try await withPool(PoolOptions(maximum: 1)) { pool in
            let session = try await pool.take()
            _ = try await session.send("BEGIN")
            // Dirty and inside a transaction: DISCARD ALL could not run there.
            await pool.give(session, isDirty: true)
            #expect(try await pool.take().backend != session.backend)
        }
    }

    @Test("a connection that the server ended while it lay in the pool is replaced")
    func replaced() async throws {
        try await withPool(PoolOptions(maximum: 1)) { pool in
            let session = try await pool.take()
            await pool.give(session)
            try await withSession { other in _ = try await other.value("SELECT pg_terminate_backend(\(session.backend))") }
            try await session.waitUntilClosed()
            let next = try await pool.take()
            #expect(next.backend != session.backend)
            #expect(try await next.value("SELECT 1") == "1")
        }
    }

    @Test("a connection that breaks in its owner's hands makes room for the next in line")
    func brokenWhileLeased() async throws {
        try await withPool(PoolOptions(maximum: 1)) { pool in
            let session = try await pool.take()
            let next = Task { try await pool.take() }
            try await wait(for: "the waiter") { await pool.numbers().queue == 1 }
            try await withSession { other in _ = try await other.value("SELECT pg_terminate_backend(\(session.backend))") }
            #expect(try await next.value.backend != session.backend)
            await pool.give(session)
        }
    }

    // MARK: What cannot be opened

    @Test("a wrong password fails at once, and everybody who waits is told")
    func wrongPassword() async throws {
        let node = try await firstNode()
        try await withPool(
            PoolOptions(minimum: 1, maximum: 2), conninfo: "host=127.0.0.1 port=\(node.port) dbname=tandem user=\(node.user)", password: "wrong"
        ) { pool in
            await withTaskGroup { group in
                for _ in 0..<4 {
                    group.addTask {
                        let error = await #expect(throws: TandemError.self) { try await pool.take(.seconds(600)) }
                        #expect(error?.code == .authenticationFailed)
                    }
                }
            }
            #expect(await pool.numbers().queue == 0)
        }
    }

    @Test("a closed pool lends nothing and closes what comes back")
    func closed() async throws {
        try await withPool(PoolOptions(maximum: 2)) { pool in
            let one = try await pool.take(), two = try await pool.take()
            await pool.give(one)
            await confined(to: testReactor) { pool.close() }
            #expect(await one.isClosed())
            let error = await #expect(throws: TandemError.self) { try await pool.take() }
            #expect(error?.code == .connectionClosed)
            await pool.give(two)
            #expect(await two.isClosed())
            #expect(await pool.numbers().count == 0)
        }
    }

    @Test("many owners at once never share a connection")
    func exclusive() async throws {
        try await withPool(PoolOptions(maximum: 3)) { pool in
            let inUse = Locked<Set<Int32>>([])
            try await withThrowingTaskGroup { group in
                for _ in 0..<60 {
                    group.addTask {
                        let session = try await pool.take()
                        #expect(inUse.withLock { $0.insert(session.backend).inserted })
                        _ = try await session.value("SELECT 1")
                        inUse.withLock { _ = $0.remove(session.backend) }
                        await pool.give(session)
                    }
                }
                try await group.waitForAll()
            }
            #expect(await pool.numbers().count <= 3)
        }
    }
}
