import DequeModule
package import TandemCore

/// Who may start: a global transaction is admitted only when each node that it may touch has a connection for it.
///
/// All its places are taken at once and in the order of arrival. An admitted transaction therefore never waits for a connection, and two
/// of them cannot wait for each other's, whatever the order in which they touch nodes. Confined to its reactor.
package final class Admission: @unchecked Sendable {
    private struct Waiter {
        let number: UInt64
        let nodes: [NodeName]
        let admit: (Result<Void, TandemError>) -> Void
    }

    private let reactor: Reactor
    private let places: [NodeName: Int]
    private var used: [NodeName: Int] = [:]
    private var waiters: Deque<Waiter> = []
    private var number: UInt64 = 0
    /// Set when nobody may enter any more; called when the last one has left.
    private var whenEmpty: (() -> Void)?
    private var isClosed = false

    /// `places` is how many transactions may touch each node at a time: the size of its pool.
    package init(reactor: Reactor, places: [NodeName: Int]) {
        self.reactor = reactor
        self.places = places
    }

    package var queueLength: Int { waiters.count }

    /// Waits in line for a place at each of `nodes`, which must be known nodes.
    ///
    /// - Throws: `admissionTimeout` at the deadline, with the length of the queue; `CancellationError`.
    nonisolated(nonsending) package func enter(_ nodes: [NodeName], deadline: ContinuousClock.Instant) async throws {
        // On the reactor's own thread, with room and nobody in line, there is nothing to wait for.
        if reactor.isCurrent && waiters.isEmpty && !isClosed && fits(nodes) && !Task.isCancelled { return take(nodes) }
        let ticket = Ticket()
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                reactor.execute {
                    if ticket.isCancelled { return continuation.resume(throwing: CancellationError()) }
                    ticket.number = self.enter(nodes, deadline: deadline) { result in
                        switch result {
                        case .success: continuation.resume()
                        case .failure(let error): continuation.resume(throwing: ticket.isCancelled ? CancellationError() : error)
                        }
                    }
                }
            }
        } onCancel: {
            reactor.execute {
                ticket.isCancelled = true
                if let number = ticket.number { self.giveUp(number) }
            }
        }
    }

    private final class Ticket: @unchecked Sendable {
        var number: UInt64?
        var isCancelled = false
    }

    private func enter(_ nodes: [NodeName], deadline: ContinuousClock.Instant, _ admit: @escaping (Result<Void, TandemError>) -> Void) -> UInt64? {
        if isClosed {
            admit(.failure(Self.closed))
            return nil
        }
        if waiters.isEmpty && fits(nodes) {
            take(nodes)
            admit(.success(()))
            return nil
        }
        number += 1
        let number = number
        waiters.append(Waiter(number: number, nodes: nodes, admit: admit))
        reactor.schedule(at: deadline) { [weak self] in self?.giveUp(number) }
        return number
    }

    private func giveUp(_ number: UInt64) {
        guard let index = waiters.firstIndex(where: { $0.number == number }) else { return }
        let waiter = waiters.remove(at: index)
        let places = waiter.nodes.compactMap { self.places[$0] }.min() ?? 0
        waiter.admit(
            .failure(
                TandemError(
                    .admissionTimeout, "\(places) transactions run already and \(waiters.count) more wait in line", effect: .none, isRetrySafe: true,
                    nextStep: "raise the pools' maximum, allow more time, or send less at a time")))
        // The line may have stood still behind the one that left.
        admitNext()
    }

    /// Gives the places back. Confined.
    package func leave(_ nodes: [NodeName]) {
        for node in nodes { used[node, default: 0] -= 1 }
        admitNext()
        endIfEmpty()
    }

    /// Refuses everybody who is not in yet, and calls `whenEmpty` when the last of the others has left: what is under way needs its connections to
    /// its end, or prepared branches would stay behind. Confined.
    package func close(whenEmpty: @escaping () -> Void) {
        guard !isClosed else { return }
        isClosed = true
        self.whenEmpty = whenEmpty
        while let waiter = waiters.popFirst() { waiter.admit(.failure(Self.closed)) }
        endIfEmpty()
    }

    private static let closed = TandemError(.connectionClosed, "the cluster is closed")

    private func endIfEmpty() {
        guard let whenEmpty, used.values.allSatisfy({ $0 <= 0 }) else { return }
        self.whenEmpty = nil
        whenEmpty()
    }

    private func admitNext() {
        while let first = waiters.first, fits(first.nodes) {
            waiters.removeFirst()
            take(first.nodes)
            first.admit(.success(()))
        }
    }

    private func fits(_ nodes: [NodeName]) -> Bool {
        nodes.allSatisfy { used[$0, default: 0] < places[$0, default: 0] }
    }

    private func take(_ nodes: [NodeName]) {
        for node in nodes { used[node, default: 0] += 1 }
    }
}
