import TandemCluster
import TandemCore
import TandemPostgres

/// Rows that come and go while a body runs: the branch's turn is taken until it returns.
extension BranchSession {
    /// The branches whose rows the current task reads or writes: a statement on one of them would wait for the end of that, and so for itself.
    @TaskLocal private static var streaming: Set<ObjectIdentifier> = []

    var isStreaming: Bool { Self.streaming.contains(ObjectIdentifier(self)) }

    /// Runs a user statement whose rows are read by `body` as they arrive; other calls on the branch wait until it returns.
    nonisolated(nonsending) func stream<V>(
        _ statement: Statement, _ body: nonisolated(nonsending) (RowSequence) async throws -> V
    ) async throws -> V {
        let rows = RowStream()
        return try await alone(statement) { connection in
            Course(
                flight: connection.launch(Batch([statement]), into: rows, deadline: deadline),
                stop: { connection.interrupt(rows) }, leave: { rows.drain() })
        } body: { connection, describe in
            try await body(RowSequence(rows, on: connection.reactor, describe: describe))
        }.value
    }

    /// Runs COPY to the client; its rows are read by `body` as they arrive.
    nonisolated(nonsending) func copyOut<V>(
        _ statement: Statement, _ body: nonisolated(nonsending) (CopySequence) async throws -> V
    ) async throws -> V {
        try checkCopy(statement)
        let channel = CopyChannel(.fromServer)
        let value = try await alone(statement) { connection in
            Course(
                flight: connection.launch(statement, through: channel, deadline: deadline),
                stop: { connection.interrupt(channel) }, leave: { channel.drain() })
        } body: { connection, describe in
            try await body(CopySequence(channel, on: connection.reactor, describe: describe))
        }.value
        try await checkCopied(channel)
        return value
    }

    /// Runs COPY from the client with the bytes of a sequence, and returns how many rows there were.
    nonisolated(nonsending) func copyIn<Source: AsyncSequence>(_ statement: Statement, _ source: Source) async throws -> Int
    where Source.Element: Collection<UInt8> {
        try checkCopy(statement)
        state.withLock { $0.hasWritten = true }
        let channel = CopyChannel(.toServer)
        let affected = try await alone(statement) { connection in
            Course(
                flight: connection.launch(statement, through: channel, deadline: deadline),
                stop: { connection.interrupt(channel) }, leave: { channel.drain() })
        } body: { connection, _ in
            let writer = CopyWriter(channel, on: connection.reactor)
            do {
                for try await bytes in source { guard try await writer.write(bytes) else { break } }
                try await writer.finish()
            } catch {
                // What came so far is refused: the server must not take a part for the whole.
                writer.refuse()
                throw error
            }
        }.affected
        try await checkCopied(channel)
        return affected
    }

    private func checkCopy(_ statement: Statement) throws {
        guard leadingKeyword(of: statement.text) != "COPY" else { return }
        throw TandemError(
            .statementRefused, "the statement is no COPY", effect: .none, node: name, nextStep: "use query or stream for its rows, and execute for the others")
    }

    /// A COPY the other way, or from a file of the server, has run without the caller's rows: the transaction must not commit what he did not mean.
    private func checkCopied(_ channel: CopyChannel) async throws {
        let reactor = lane.reactor
        let hasBegun = await withCheckedContinuation { continuation in reactor.execute { continuation.resume(returning: channel.hasBegun) } }
        if hasBegun { return }
        let error = TandemError(
            .statementRefused, "the COPY is not one of this direction with the client", effect: .rolledBack, node: name,
            nextStep: "copyIn takes COPY ... FROM STDIN, copyOut COPY ... TO STDOUT", phase: "statement")
        fail(error)
        throw error
    }

    /// A statement on its way whose rows a body reads or writes. Both are called on the reactor.
    private struct Course {
        let flight: Connection.Flight
        /// Ends it at the server, with its connection.
        let stop: @Sendable () -> Void
        /// The body wants no more rows: what is left is read and dropped, so that the transaction can go on.
        let leave: @Sendable () -> Void
    }

    /// Runs one statement alone, with a body beside it.
    private nonisolated(nonsending) func alone<V>(
        _ statement: Statement, _ start: (Connection) -> Course,
        body: nonisolated(nonsending) (Connection, @escaping @Sendable (any Error) -> any Error) async throws -> V
    ) async throws -> (value: V, affected: Int) {
        try check(statement)
        try await enter()
        defer { leaveTurn() }
        // Only the statement itself may bring rows: what opens the branch goes before it.
        _ = try await send([])
        guard let connection else { throw TandemError(.connectionClosed, "the transaction has ended", node: name) }
        noteTraces(of: [statement], on: connection)
        let reactor = connection.reactor, name = name
        let course = start(connection)
        let outcome: Result<V, any Error>
        do {
            outcome = .success(
                try await withTaskCancellationHandler {
                    try await Self.$streaming.withValue(Self.streaming.union([ObjectIdentifier(self)])) {
                        try await body(connection) { Self.described($0, name) }
                    }
                } onCancel: {
                    reactor.execute { course.stop() }
                })
        } catch {
            outcome = .failure(error)
        }
        reactor.execute { course.leave() }
        var wrong: (any Error)?
        var affected = 0
        switch await course.flight.answers()[0] {
        case .failure(let failure):
            let error = TandemError(failure, node: name, effect: .rolledBack, phase: "statement")
            fail(error)
            wrong = failure.kind == .cancelled ? CancellationError() : error
        case .success(let answer):
            affected = answer.only.results.last?.affectedRows ?? 0
            wrong = take(answer.only, after: 0)
        }
        if let cancelled = wrong as? TandemError { wrong = await explain(cancelled) }
        do {
            let value = try outcome.get()
            if let wrong { throw wrong }
            return (value, affected)
        } catch let error as TandemError where error.sqlState == .queryCanceled {
            // The body was told what the server said; why it said so is known by now.
            throw wrong ?? error
        }
    }

    /// What an error of the server or the connection means to whoever reads rows.
    private static func described(_ error: any Error, _ name: NodeName) -> any Error {
        switch error {
        case let error as ServerError: TandemError(error, node: name, effect: .rolledBack, phase: "statement")
        case let failure as ConnectionFailure where failure.kind == .cancelled: CancellationError()
        case let failure as ConnectionFailure: TandemError(failure, node: name, effect: .rolledBack, phase: "statement")
        default: error
        }
    }
}
