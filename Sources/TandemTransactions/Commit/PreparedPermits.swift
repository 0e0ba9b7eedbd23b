import DequeModule
import TandemCluster
import TandemCore
import TandemPostgres

/// R18: how many branches this process may have prepared on each server at a time.
///
/// All permits of a transaction are taken at once, in the order of arrival and just before its votes, so two transactions of this process never wait
/// for each other's. `max_prepared_transactions` belongs to the server, so two nodes on one server share a count. How many this process may have is
/// its share among the coordinators of the server (B7), read again each second by the first transaction that votes. One transaction always gets what
/// it needs: where others leave nothing, the server refuses it (53200), which is a clean "no", rare, and safe to retry.
final class PreparedPermits: Sendable {
    private struct Waiter {
        let number: UInt64
        let servers: [Int64]
        let grant: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var capacity: [Int64: Int] = [:]
        var used: [Int64: Int] = [:]
        /// When the slots of a server are to be read again.
        var isStale: [Int64: ContinuousClock.Instant] = [:]
        var waiting: Deque<Waiter> = []
        var number: UInt64 = 0

        func fits(_ servers: [Int64]) -> Bool {
            if let only = servers.first, servers.count == 1 { return used[only, default: 0] < max(1, capacity[only, default: 0]) }
            var wanted: [Int64: Int] = [:]
            for server in servers { wanted[server, default: 0] += 1 }
            return wanted.allSatisfy { used[$0.key, default: 0] + $0.value <= max($0.value, capacity[$0.key, default: 0]) }
        }

        mutating func take(_ servers: [Int64]) {
            for server in servers { used[server, default: 0] += 1 }
        }
    }

    /// How long a server's answer counts.
    private static let freshness = Duration.seconds(1)

    private let state = Locked(State())

    /// Whether the caller is the one who reads the server's slots again now.
    ///
    /// - Returns: how many branches this process may have prepared there, where it is.
    func mustRead(_ node: NodeIdentity) -> Int? {
        let server = node.systemIdentifier
        return state.withLock { state in
            let now = ContinuousClock.now
            if let limit = state.isStale[server], now < limit { return nil }
            state.isStale[server] = now + Self.freshness
            return state.used[server, default: 0]
        }
    }

    /// Takes what a server says about its slots.
    ///
    /// - Parameters:
    ///   - slots: the answer.
    ///   - node: the node that was asked.
    ///   - before: what ``mustRead(_:)`` returned: some of those may have ended before the server answered, and some have been taken since.
    ///   - reserve: what is left to others.
    func note(_ slots: PreparedSlots, of node: NodeIdentity, before: Int, reserve: Int) {
        let server = node.systemIdentifier
        state.withLock { state in
            state.capacity[server] = slots.share(own: max(before, state.used[server, default: 0]), reserve: reserve)
        }
        grantNext()
    }

    /// Waits in line for one permit on the server of each node.
    ///
    /// - Returns: whether they were granted before the deadline.
    func take(_ nodes: [NodeIdentity], reserve: Int, deadline: ContinuousClock.Instant, reactor: Reactor) async -> Bool {
        let servers = nodes.map(\.systemIdentifier)
        let isGranted = state.withLock { state in
            for node in nodes where state.capacity[node.systemIdentifier] == nil {
                state.capacity[node.systemIdentifier] = node.maximumPrepared - reserve
            }
            guard state.waiting.isEmpty, state.fits(servers) else { return false }
            state.take(servers)
            return true
        }
        if isGranted { return true }
        return await withCheckedContinuation { continuation in
            let number = state.withLock { state in
                state.number += 1
                state.waiting.append(Waiter(number: state.number, servers: servers, grant: continuation))
                return state.number
            }
            grantNext()
            reactor.execute { reactor.schedule(at: deadline) { self.giveUp(number) } }
        }
    }

    private func giveUp(_ number: UInt64) {
        let waiter: Waiter? = state.withLock { state in
            guard let index = state.waiting.firstIndex(where: { $0.number == number }) else { return nil }
            return state.waiting.remove(at: index)
        }
        waiter?.grant.resume(returning: false)
        grantNext()
    }

    /// Gives a permit back, once its branch is finished or was seen to be absent.
    func release(_ node: NodeIdentity) {
        state.withLock { $0.used[node.systemIdentifier, default: 1] -= 1 }
        grantNext()
    }

    private func grantNext() {
        while true {
            let next: Waiter? = state.withLock { state in
                guard let first = state.waiting.first, state.fits(first.servers) else { return nil }
                state.take(first.servers)
                return state.waiting.popFirst()
            }
            guard let next else { return }
            next.grant.resume(returning: true)
        }
    }
}
