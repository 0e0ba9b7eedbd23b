extension Connection {
    /// Sends one batch to each of several connections of one reactor at the same time and waits for all answers: one suspension, however
    /// many connections.
    ///
    /// It does not end early when the caller's task is cancelled: what is sent here has to be known.
    ///
    /// - Parameters:
    ///   - calls: the connections, all of `reactor`, and what each is sent.
    ///   - reactor: the reactor of the connections.
    ///   - deadline: when the wait for an answer ends.
    /// - Returns: the answers in the order of the calls.
    package static func gather(
        _ calls: [(connection: Connection, batch: Batch)], on reactor: Reactor, deadline: ContinuousClock.Instant
    ) async -> [Result<BatchReply, ConnectionFailure>] {
        await launch(calls, on: reactor, deadline: deadline).answers()
    }

    /// The first half of ``gather(_:on:deadline:)``: on the reactor's own thread everything has been handed to the sockets when it returns.
    package static func launch(
        _ calls: [(connection: Connection, batch: Batch)], on reactor: Reactor, deadline: ContinuousClock.Instant
    ) -> Flight {
        let flight = Flight(calls.count, reactor)
        if calls.isEmpty { return flight }
        reactor.execute {
            for (index, call) in calls.enumerated() {
                let operation = Operation(call.batch, deadline: deadline, caller: .closure { flight.put($0, at: index) })
                flight.take(operation, of: call.connection, at: index)
                call.connection.submit(operation)
            }
        }
        return flight
    }

    /// Sends a statement whose rows go to `rows` as they arrive.
    ///
    /// - Parameters:
    ///   - batch: the statement.
    ///   - rows: where its rows go.
    ///   - deadline: when the wait for an answer ends.
    /// - Returns: what brings the answer, after the last row.
    package func launch(_ batch: Batch, into rows: RowStream, deadline: ContinuousClock.Instant) -> Flight {
        let flight = Flight(1, reactor)
        reactor.execute { self.stream(batch, into: rows, deadline: deadline) { flight.put($0, at: 0) } }
        return flight
    }

    /// Runs COPY, whose rows go through `channel`.
    ///
    /// - Parameters:
    ///   - statement: COPY from or to the client.
    ///   - channel: where its rows go, or come from.
    ///   - deadline: when the wait for an answer ends.
    /// - Returns: what brings the answer, after the last row.
    package func launch(_ statement: Statement, through channel: CopyChannel, deadline: ContinuousClock.Instant) -> Flight {
        let flight = Flight(1, reactor)
        reactor.execute { self.copy(statement, through: channel, deadline: deadline) { flight.put($0, at: 0) } }
        return flight
    }

    /// Batches that are on their way. Confined to the reactor of the connections.
    package final class Flight: @unchecked Sendable {
        private let reactor: Reactor
        private var landed: [Result<BatchReply, ConnectionFailure>]
        private var missing: Int
        /// What has no answer yet, by place.
        private var open: [(operation: Operation, connection: Connection)?]
        private var waiter: UnsafeContinuation<[Result<BatchReply, ConnectionFailure>], Never>?

        /// Says what stands in a place whose answer has not come: nobody reads it.
        private static let nothing = Result<BatchReply, ConnectionFailure>.success(BatchReply(segments: []))

        fileprivate init(_ count: Int, _ reactor: Reactor) {
            self.reactor = reactor
            landed = Array(repeating: Self.nothing, count: count)
            open = Array(repeating: nil, count: count)
            missing = count
        }

        fileprivate func take(_ operation: Operation, of connection: Connection, at index: Int) { open[index] = (operation, connection) }

        /// Asks the servers to stop those of the batches that have no answer yet. Confined.
        package func cancel(_ places: [Int]) {
            for place in places { open[place].map { $0.connection.cancel($0.operation) } }
        }

        /// Gives those of the batches up that have no answer yet, and closes their connections. Confined.
        package func close(_ places: [Int]) {
            for place in places { open[place].map { $0.connection.close(waitingFor: $0.operation) } }
        }

        fileprivate func put(_ answer: Result<BatchReply, ConnectionFailure>, at index: Int) {
            landed[index] = answer
            open[index] = nil
            missing -= 1
            if missing == 0, let waiter {
                self.waiter = nil
                waiter.resume(returning: landed)
            }
        }

        /// The answers in the order of the calls, once all are there. One caller.
        package func answers() async -> [Result<BatchReply, ConnectionFailure>] {
            if reactor.isCurrent && missing == 0 { return landed }
            return await withUnsafeContinuation { continuation in
                reactor.execute {
                    if self.missing == 0 { continuation.resume(returning: self.landed) } else { self.waiter = continuation }
                }
            }
        }
    }
}
