import Foundation
import Synchronization
import TandemCore
import TandemLocal
import TandemPostgres
import TandemTestKit
import TandemTestSupport
import Testing

/// Each fault, with a real session of the driver through it. The table belongs to the session's own database.
@Suite("The fault proxy", .serialized, .timeLimit(.minutes(2)))
struct FaultProxyTests {
    /// A session through a proxy, and one without.
    private func withProxy(_ body: @Sendable @escaping (FaultProxy, RawSession, RawSession) async throws -> Void) async throws {
        try await withCluster(1) { test in
            let node = try test.local.node("n1")
            let direct = try await test.session("n1")
            try await withFaultProxy(to: .init(host: "127.0.0.1", port: node.port)) { proxy in
                let session = try await RawSession.open(
                    "host=127.0.0.1 port=\(proxy.port) dbname=\(test.database) user=\(node.user) password='\(node.password)' sslmode=prefer")
                try await body(proxy, session, direct)
                await session.close()
            }
            await direct.close()
        }
    }

    private static let update = "UPDATE account SET balance = balance + 1 WHERE id = 1"

    /// Runs a statement that nobody will answer.
    private func unanswered(_ session: RawSession, _ text: String = update) async -> ConnectionFailure? {
        await #expect(throws: ConnectionFailure.self) {
            try await session.connection.run(Batch([Statement(text)]), deadline: .now + .milliseconds(300))
        }
    }

    private func balance(_ session: RawSession) async throws -> String? { try await session.value("SELECT balance FROM account WHERE id = 1") }

    private func expect(_ session: RawSession, _ expected: String) async throws {
        let found = try await balance(session)
        #expect(found == expected)
    }

    private func update(_ session: RawSession) async throws {
        let reply = try await session.connection.run(Batch([Statement(Self.update)])).only
        #expect(reply.lastTag == "UPDATE 1")
    }

    @Test("forwards what no rule concerns, a client that would like to encrypt included")
    func forwards() async throws {
        try await withProxy { proxy, session, _ in
            proxy.arm(FaultRule(on: .execute("nobody says this"), .reset, times: nil))
            for _ in 1...3 { try await session.run(Self.update) }
            try await expect(session, "1003")
            #expect(proxy.fired == 0)
        }
    }

    private final class Answer: Sendable {
        let isThere = Atomic<Bool>(false)
    }

    @Test("forwards while all threads that tasks share compute")
    func busy() async throws {
        try await withProxy { _, session, _ in
            let answer = Answer()
            try await withThrowingTaskGroup(of: Void.self) { group in
                // On the session's own thread: this task could not go on either.
                group.addTask(executorPreference: testReactor) {
                    defer { answer.isThere.store(true, ordering: .relaxed) }
                    try await session.run(Self.update)
                }
                for _ in 0..<ProcessInfo.processInfo.activeProcessorCount {
                    group.addTask { while !answer.isThere.load(ordering: .relaxed) && !Task.isCancelled {} }
                }
                try await group.waitForAll()
            }
            try await expect(session, "1001")
        }
    }

    @Test("a dropped request never arrives, a dropped reply leaves what was done")
    func drops() async throws {
        try await withProxy { proxy, session, direct in
            proxy.arm(FaultRule(on: .execute("UPDATE"), .dropRequest))
            #expect(await unanswered(session)?.kind == .timedOut)
            try await expect(direct, "1000")
        }
        try await withProxy { proxy, session, direct in
            proxy.arm(FaultRule(on: .execute("UPDATE"), .dropReply))
            #expect(await unanswered(session)?.kind == .timedOut)
            try await wait(for: "the update") { try await balance(direct) == "1001" }
        }
        try await withProxy { proxy, session, direct in
            proxy.arm(FaultRule(on: .complete("UPDATE"), .dropReply))
            #expect(await unanswered(session)?.kind == .timedOut)
            try await expect(direct, "1001")
        }
    }

    @Test("a reset is known at once, before the message arrives or after")
    func resets() async throws {
        try await withProxy { proxy, session, direct in
            proxy.arm(FaultRule(on: .execute("UPDATE"), .reset))
            let failure = await #expect(throws: ConnectionFailure.self) { try await session.connection.run(Batch([Statement(Self.update)])) }
            #expect(failure?.kind == .lost)
            try await expect(direct, "1000")
        }
        try await withProxy { proxy, session, direct in
            proxy.arm(FaultRule(on: .complete("UPDATE"), .reset))
            let failure = await #expect(throws: ConnectionFailure.self) { try await session.connection.run(Batch([Statement(Self.update)])) }
            #expect(failure?.kind == .lost)
            try await expect(direct, "1001")
        }
    }

    @Test("a message that is cut is not executed, and the server ends its session")
    func cuts() async throws {
        try await withProxy { proxy, session, direct in
            let sessions = "SELECT count(*) FROM pg_stat_activity WHERE pid = \(session.backend)"
            let before = try await direct.value(sessions)
            #expect(before == "1")
            proxy.arm(FaultRule(on: .parse("UPDATE"), .cut(bytes: 9)))
            let failure = await #expect(throws: ConnectionFailure.self) { try await session.connection.run(Batch([Statement(Self.update)])) }
            #expect(failure?.kind == .lost)
            try await wait(for: "the end of the session") { try await direct.value(sessions) == "0" }
            try await expect(direct, "1000")
        }
    }

    @Test("after so many, and so often; prepared statements are known by their text")
    func counts() async throws {
        try await withProxy { proxy, session, _ in
            proxy.arm(FaultRule(on: .execute("balance + 1"), .delay(.milliseconds(1)), after: 2, times: 2))
            for number in 1...6 {
                try await update(session)
                #expect(proxy.fired == max(0, min(2, number - 2)))
            }
            await proxy.hasFired(2)
            // The parsing came once.
            proxy.arm(FaultRule(on: .parse("balance + 1"), .reset))
            try await update(session)
            #expect(proxy.fired == 2)
        }
    }

    @Test("a delay holds what is behind it, and what trickles arrives whole")
    func slow() async throws {
        try await withProxy { proxy, session, _ in
            proxy.arm(FaultRule(on: .execute("UPDATE"), .delay(.milliseconds(500))))
            #expect(await unanswered(session)?.kind == .timedOut)
            #expect(proxy.fired == 1)
        }
        try await withProxy { proxy, session, _ in
            proxy.arm(FaultRule(on: .execute("UPDATE"), .trickle(pause: .milliseconds(1))))
            try await update(session)
            try await expect(session, "1001")
        }
    }

    @Test("a partition silences open connections and new ones, and its end resets them")
    func partition() async throws {
        try await withProxy { proxy, session, direct in
            proxy.partition()
            #expect(await unanswered(session)?.kind == .timedOut)
            try await expect(direct, "1000")
            proxy.heal()
        }
        try await withProxy { proxy, session, _ in
            proxy.partition()
            let running = Task { try await session.connection.run(Batch([Statement(Self.update)]), deadline: .now + .seconds(60)) }
            proxy.heal()
            await #expect(throws: ConnectionFailure.self) { try await running.value }
        }
        try await withProxy { proxy, session, direct in
            proxy.arm(FaultRule(on: .execute("UPDATE"), .blackHole))
            #expect(await unanswered(session)?.kind == .timedOut)
            try await expect(direct, "1000")
        }
    }
}
