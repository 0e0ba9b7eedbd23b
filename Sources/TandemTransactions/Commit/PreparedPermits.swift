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
        let transaction: TransactionID
        let servers: [Int64]
        let grant: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var capacity: [Int64: Int] = [:]
        var used: [Int64: Int] = [:]
        /// Who holds how many of them.
        var holders: [Int64: [TransactionID: Int]] = [:]
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

        mutating func take(_ servers: [Int64], _ transaction: TransactionID) {
            for server in servers {
                used[server, default: 0] += 1
                holders[server, default: [:]][transaction, default: 0] += 1
            }
        }

        /// The servers on which there is too little left for a waiter.
        func exhausted(_ servers: [Int64]) -> [Int64] { Set(servers).filter { used[$0, default: 0] >= max(1, capacity[$0, default: 0]) }.sorted() }
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
    func take(
        _ nodes: [NodeIdentity], for transaction: TransactionID, reserve: Int, deadline: ContinuousClock.Instant, reactor: Reactor
    ) async -> Bool {
        let servers = nodes.map(\.systemIdentifier)
        let isGranted = state.withLock { state in
            for node in nodes where state.capacity[node.systemIdentifier] == nil {
                state.capacity[node.systemIdentifier] = node.maximumPrepared - reserve
            }
            guard state.waiting.isEmpty, state.fits(servers) else { return false }
            state.take(servers, transaction)
            return true
        }
        if isGranted { return true }
        return await withCheckedContinuation { continuation in
            let number = state.withLock { state in
                state.number += 1
                state.waiting.append(Waiter(number: state.number, transaction: transaction, servers: servers, grant: continuation))
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
    func release(_ node: NodeIdentity, of transaction: TransactionID) {
        let server = node.systemIdentifier
        state.withLock { state in
            state.used[server, default: 1] -= 1
            let left = state.holders[server]?[transaction].map { $0 - 1 } ?? 0
            state.holders[server]?[transaction] = left > 0 ? left : nil
        }
        grantNext()
    }

    /// Who waits here for whom (D5): the first in line until one of those gives a permit back who hold them, the others for the first one.
    func waits(_ cluster: Cluster) -> [WaitEdge] {
        let (waiting, holders, exhausted) = state.withLock { state in
            (state.waiting.map { ($0.transaction, $0.servers) }, state.holders, state.waiting.first.map { state.exhausted($0.servers) } ?? [])
        }
        guard let (first, servers) = waiting.first else { return [] }
        func name(_ server: Int64?) -> NodeName? { cluster.nodes.values.first { $0.identity?.systemIdentifier == server }?.name }
        func edge(_ waiter: TransactionID, _ blocker: TransactionID, _ server: Int64?) -> WaitEdge? {
            name(server).map { WaitEdge(.transaction(waiter), for: .transaction(blocker), on: $0, session: nil, statement: "a slot for a prepared branch") }
        }
        let own = exhausted.flatMap { server in (holders[server] ?? [:]).keys.compactMap { edge(first, $0, server) } }
        return own + waiting.dropFirst().compactMap { edge($0.0, first, servers.first) }
    }

    private func grantNext() {
        while true {
            let next: Waiter? = state.withLock { state in
                guard let first = state.waiting.first, state.fits(first.servers) else { return nil }
                state.take(first.servers, first.transaction)
                return state.waiting.popFirst()
            }
            guard let next else { return }
            next.grant.resume(returning: true)
        }
    }
}
