import DequeModule
package import Logging
package import TandemCore

/// The connections of one reactor to one node. Confined to the reactor.
///
/// A connection is leased to one owner at a time and comes back only idle, outside a transaction; anything else closes it.
package final class Pool: @unchecked Sendable {
    /// Checks a new connection (identity, session settings) before its first lease.
    package typealias Preparation = @Sendable (Connection, @escaping (Result<Void, TandemError>) -> Void) -> Void
    /// Told with a connection, or with why there is none.
    package typealias Lease = (Result<Connection, TandemError>) -> Void

    private struct Waiter {
        let number: UInt64
        let lease: Lease
    }

    package let reactor: Reactor
    package let node: NodeName
    /// How long a used session may take to get its first state back.
    private static let patience = Duration.seconds(10)

    private let options: PoolOptions
    private let connector: Connector
    private let prepare: Preparation
    /// What gives a used session its first state back; nothing where sessions belong to somebody else.
    private let reset: Batch?
    private let logger: Logger

    private var idle: [Connection] = []
    private var waiters: Deque<Waiter> = []
    private var number: UInt64 = 0
    private var opening = 0
    /// Every connection that is open, wherever it is: nothing else keeps one alive while it gets its first state back.
    private var open: [ObjectIdentifier: Connection] = [:]
    private var isPruning = false
    private var isClosed = false

    package init(
        node: NodeName, reactor: Reactor, options: PoolOptions, connector: Connector, reset: Batch?, logger: Logger, prepare: @escaping Preparation
    ) {
        self.node = node
        self.reactor = reactor
        self.options = options
        self.connector = connector
        self.reset = reset
        self.logger = logger
        self.prepare = prepare
    }

    /// Connections that are open or being opened.
    package var count: Int { open.count + opening }
    /// Connections that may be open at a time.
    package var maximum: Int { options.maximum }
    /// Leases that wait for a connection.
    package var queueLength: Int { waiters.count }

    /// The transactions whose branches the sessions are, by the sessions' server processes. Confined.
    package var transactions: [Int32: TransactionID] {
        open.values.reduce(into: [:]) { if let transaction = $1.transaction { $0[$1.backend] = transaction } }
    }

    // MARK: Leases

    /// Leases a connection: an idle one, the one used last first, or a new one while there is room.
    ///
    /// - Throws: `poolExhausted` at the deadline, with the length of the queue; the error of the attempt to connect, at once; `CancellationError`.
    nonisolated(nonsending) package func lease(deadline: ContinuousClock.Instant) async throws -> Connection {
        // On the reactor's own thread an idle connection is there at once.
        if reactor.isCurrent && waiters.isEmpty && !isClosed && !Task.isCancelled, let connection = popIdle() { return connection }
        let ticket = Ticket()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Connection, any Error>) in
                reactor.execute {
                    if ticket.isCancelled { return continuation.resume(throwing: CancellationError()) }
                    ticket.number = self.lease(deadline: deadline) { result in
                        switch result {
                        case .success(let connection): continuation.resume(returning: connection)
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

    /// Whether a lease would be granted at once. Confined.
    package var isReady: Bool { waiters.isEmpty && idle.contains { !$0.isClosed } }

    /// Leases an idle connection if there is one, whoever waits in line and whether or not the task is cancelled: for what has to be sent. Confined.
    package func takeIdle() -> Connection? {
        // One that still waits for the answer to its last owner's message would make what has to be sent wait, too.
        guard !isClosed, let index = idle.lastIndex(where: { $0.isIdle && !$0.isClosed }) else { return nil }
        defer { keepMinimum() }
        return idle.remove(at: index)
    }

    /// The idle connection that was used last: the one whose server process has the warmest caches.
    private func popIdle() -> Connection? {
        while let connection = idle.popLast() {
            if connection.isClosed { continue }
            keepMinimum()
            return connection
        }
        return nil
    }

    /// Where a task's cancellation finds its place in line. Confined.
    private final class Ticket: @unchecked Sendable {
        var number: UInt64?
        var isCancelled = false
    }

    /// Leases a connection and calls `lease` on the reactor's thread. Confined.
    ///
    /// - Returns: the number of its place in line, if it has to wait.
    @discardableResult
    package func lease(deadline: ContinuousClock.Instant, _ lease: @escaping Lease) -> UInt64? {
        if isClosed {
            lease(.failure(TandemError(.connectionClosed, "the cluster is closed", node: node)))
            return nil
        }
        if let connection = popIdle() {
            lease(.success(connection))
            return nil
        }
        number += 1
        let number = number
        waiters.append(Waiter(number: number, lease: lease))
        openIfNeeded()
        keepMinimum()
        reactor.schedule(at: deadline) { [weak self] in self?.giveUp(number) }
        return number
    }

    private func giveUp(_ number: UInt64) {
        guard let index = waiters.firstIndex(where: { $0.number == number }) else { return }
        let waiter = waiters.remove(at: index)
        let length = waiters.count
        waiter.lease(
            .failure(
                TandemError(
                    .poolExhausted, "no connection became free in time; \(open.count) of \(options.maximum) are in use and \(length) more wait",
                    isRetrySafe: true, node: node, nextStep: "raise the pool's maximum or send less at a time")))
    }

    /// Gives a connection back. It is kept only if it is idle and outside a transaction. Confined.
    package func release(_ connection: Connection) {
        guard !connection.isClosed else { return }
        guard !isClosed, !connection.isSpent, connection.transactionStatus == .idle || !connection.isIdle else { return connection.close() }
        guard let reset else {
            connection.markClean()
            return hand(connection)
        }
        if connection.isDirty {
            connection.submit(reset, deadline: .now + Self.patience) { [weak self, weak connection] reply in
                guard let connection else { return }
                guard case .success(let reply) = reply, reply.segments.allSatisfy({ $0.error == nil }) else { return connection.close() }
                connection.markClean()
                self?.hand(connection)
            }
        } else {
            hand(connection)
        }
    }

    private func hand(_ connection: Connection) {
        guard !connection.isClosed else { return openIfNeeded() }
        if isClosed { return connection.close() }
        if let waiter = waiters.popFirst() { return waiter.lease(.success(connection)) }
        connection.idleSince = .now
        idle.append(connection)
        schedulePruning()
    }

    // MARK: Opening and closing

    private func openIfNeeded() {
        while opening < waiters.count, count < options.maximum, !isClosed {
            opening += 1
            connect()
        }
    }

    private func connect() {
        let pool = self
        connector.connect(on: reactor, logger: logger) { outcome in
            switch outcome {
            case .failure(let error): pool.failed(error)
            case .success(let connection):
                pool.prepare(connection) { result in
                    switch result {
                    case .success: pool.opened(connection)
                    case .failure(let error):
                        connection.close()
                        pool.failed(error)
                    }
                }
            }
        }
    }

    private func opened(_ connection: Connection) {
        opening -= 1
        if isClosed { return connection.close() }
        let identifier = ObjectIdentifier(connection)
        open[identifier] = connection
        connection.onClose = { [weak self] in
            guard let self else { return }
            self.open[identifier] = nil
            self.idle.removeAll { ObjectIdentifier($0) == identifier }
            self.openIfNeeded()
            self.keepMinimum()
        }
        hand(connection)
    }

    /// Everybody who waits for a connection that cannot be had is told at once: a wrong password, a missing database or a dead server
    /// does not get better by waiting, and the transactions that wait hold other nodes' locks.
    private func failed(_ error: TandemError) {
        opening -= 1
        let beyond = max(0, waiters.count - opening)
        for _ in 0..<beyond { waiters.popFirst()?.lease(.failure(error)) }
    }

    /// Opens connections up to the minimum. Asked again with each lease: where a node cannot be reached now, nobody hammers at it.
    private func keepMinimum() {
        while count < options.minimum, !isClosed {
            opening += 1
            connect()
        }
    }

    private func schedulePruning() {
        guard !isPruning, count > options.minimum else { return }
        isPruning = true
        reactor.schedule(at: .now + options.idleTime) { [weak self] in self?.prune() }
    }

    private func prune() {
        isPruning = false
        let limit = ContinuousClock.now - options.idleTime
        // The one used longest ago stands first.
        while count > options.minimum, let oldest = idle.first, oldest.idleSince <= limit {
            idle.removeFirst()
            oldest.close()
        }
        if !idle.isEmpty { schedulePruning() }
    }

    /// Closes every idle connection and each other one when it comes back. Confined.
    package func close() {
        isClosed = true
        for connection in idle { connection.close() }
        idle.removeAll()
        while let waiter = waiters.popFirst() {
            waiter.lease(.failure(TandemError(.connectionClosed, "the cluster is closed", node: node)))
        }
    }
}
