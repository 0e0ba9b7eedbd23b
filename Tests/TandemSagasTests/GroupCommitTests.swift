import TandemCore
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemSagas

@Suite("Writes that share a statement")
struct GroupCommitTests {
    /// What was written in one statement each, and who may write.
    private struct Log: Sendable {
        var writes: [[Int]] = []
        var isHeld = true
    }

    /// Writes 0 alone, and the others together behind it.
    private func write(_ refuses: @escaping @Sendable ([Int]) -> TandemError?) async throws -> (answers: [Int: Result<Int, any Error>], log: [[Int]]) {
        let log = Locked(Log()), gate = Gate()
        await gate.enter()
        let commit = GroupCommit<Int, Int> { items in
            log.withLock { $0.writes.append(items) }
            if items == [0] {
                await gate.enter()
                await gate.leave()
            }
            if let error = refuses(items) { throw error }
            return items.map { $0 * 10 }
        }
        return try await withThrowingTaskGroup(of: (Int, Result<Int, any Error>).self) { group in
            @Sendable func submit(_ item: Int) async -> (Int, Result<Int, any Error>) {
                do { return (item, .success(try await commit.submit(item))) } catch { return (item, .failure(error)) }
            }
            group.addTask { await submit(0) }
            try await wait(for: "the first write") { log.withLock { $0.writes == [[0]] } }
            for item in 1...4 {
                group.addTask { await submit(item) }
                try await wait(for: "it to wait") { commit.waiting == item }
            }
            await gate.leave()
            let answers = try await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
            return (answers, log.withLock { $0.writes })
        }
    }

    @Test("those who come while one writes share the next statement")
    func shared() async throws {
        let (answers, log) = try await write { _ in nil }
        #expect(log == [[0], [1, 2, 3, 4]])
        for item in 0...4 { #expect(try answers[item]?.get() == item * 10) }
    }

    @Test("one that the server refuses fails alone")
    func refused() async throws {
        let error = TandemError(.statementFailed, "refused", effect: .rolledBack, sqlState: SQLState(rawValue: "22P05"))
        let (answers, log) = try await write { $0.contains(3) ? error : nil }
        #expect(log == [[0], [1, 2, 3, 4], [1], [2], [3], [4]])
        for item in [0, 1, 2, 4] { #expect(try answers[item]?.get() == item * 10) }
        #expect(throws: TandemError.self) { try answers[3]?.get() }
    }

    @Test("where nobody knows what became of the statement, all are told so")
    func lost() async throws {
        let error = TandemError(.connectionLost, "no answer")
        let (answers, log) = try await write { $0.contains(3) ? error : nil }
        #expect(log == [[0], [1, 2, 3, 4]])
        for item in 1...4 { #expect(throws: TandemError.self) { try answers[item]?.get() } }
    }
}
