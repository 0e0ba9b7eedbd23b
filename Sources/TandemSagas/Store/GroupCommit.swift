import TandemCore
import TandemPostgres

/// Many who write the same kind of thing share one statement and its commit.
///
/// Whoever comes while nobody writes does so at once, and leads; those who come meanwhile wait, and the first of them leads the next write, with all that have come
/// until then. So nobody waits for others to come, and under load a write carries many.
final class GroupCommit<Item: Sendable, Answer: Sendable>: Sendable {
    private enum Turn {
        case answered(Result<Answer, any Error>)
        case leads
    }

    private struct Waiter {
        let item: Item
        let continuation: CheckedContinuation<Turn, Never>
    }

    private struct State {
        var isLed = false
        var waiters: [Waiter] = []
    }

    /// The most that one statement carries.
    private let most: Int
    private let state = Locked(State())
    private let write: @Sendable ([Item]) async throws -> [Answer]

    /// - Parameters:
    ///   - most: the most that one statement carries.
    ///   - write: writes all of them, and answers for each in their order.
    init(most: Int = 500, _ write: @escaping @Sendable ([Item]) async throws -> [Answer]) {
        self.most = most
        self.write = write
    }

    /// Writes an item with those of others. It is not interrupted by a cancellation: others wait for it.
    func submit(_ item: Item) async throws -> Answer {
        let turn = await withCheckedContinuation { (continuation: CheckedContinuation<Turn, Never>) in
            let leads = state.withLock { state in
                if state.isLed {
                    state.waiters.append(Waiter(item: item, continuation: continuation))
                    return false
                }
                state.isLed = true
                return true
            }
            if leads { continuation.resume(returning: .leads) }
        }
        switch turn {
        case .answered(let result): return try result.get()
        case .leads: return try await lead(item)
        }
    }

    /// How many wait for their turn.
    var waiting: Int { state.withLock { $0.waiters.count } }

    private func lead(_ own: Item) async throws -> Answer {
        let others = state.withLock { state in
            let taken = Array(state.waiters.prefix(most - 1))
            state.waiters.removeFirst(taken.count)
            return taken
        }
        let items = [own] + others.map(\.item), write = write
        // Whoever leads may be cancelled; the others are not.
        let results = await Task { await Self.write(items, write) }.value
        let next = state.withLock { state -> Waiter? in
            state.isLed = !state.waiters.isEmpty
            return state.waiters.isEmpty ? nil : state.waiters.removeFirst()
        }
        // The next leader first: it writes while these go on.
        if let next { pass(to: next) }
        for (index, waiter) in others.enumerated() { waiter.continuation.resume(returning: .answered(results[index + 1])) }
        return try results[0].get()
    }

    /// Writes all in one statement, or, where the server has refused that, each in its own: one that cannot be written fails alone.
    private static func write(_ items: [Item], _ write: @Sendable ([Item]) async throws -> [Answer]) async -> [Result<Answer, any Error>] {
        do { return try await write(items).map { .success($0) } } catch let error as TandemError
            where items.count > 1 && error.effect == .rolledBack && !error.isRetrySafe && error.sqlState != nil
        {
            var results: [Result<Answer, any Error>] = []
            for item in items {
                do { results.append(.success(try await write([item])[0])) } catch { results.append(.failure(error)) }
            }
            return results
        } catch {
            return items.map { _ in .failure(error) }
        }
    }

    /// Lets a waiter lead: its item is in its own hands.
    private func pass(to waiter: Waiter) { waiter.continuation.resume(returning: .leads) }
}
