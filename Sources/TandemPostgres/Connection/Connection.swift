import CLibPQ
import DequeModule
package import Logging
package import TandemCore

/// One session with a server, in libpq's pipeline mode.
///
/// Confined to its reactor: batches run one after another in the order in which they were submitted, and never interleave. It is leased
/// exclusively (see ``Pool``), so the order is that of one owner.
package final class Connection: @unchecked Sendable {
    /// What it is doing; everything of a connection is confined to its reactor.
    enum State {
        case idle
        case running(Operation)
        case closed
    }

    package let reactor: Reactor
    package let logger: Logger
    /// The server's process, as `pg_stat_activity` shows it.
    package let backend: Int32

    let connection: OpaquePointer
    private let fd: Int32
    private let cancelHandle: CancelHandle
    private var token: UInt64 = 0
    private(set) var state = State.idle
    private(set) var waiting: Deque<Operation> = []
    private var statements = StatementCache()
    /// Whether statements are prepared under names.
    private let keepsStatements: Bool
    /// Prepared statements that nobody will use again and that the server still has.
    private var abandoned: [String] = []
    private var armedUntil: ContinuousClock.Instant?
    private(set) var isWaitingToWrite = false
    private var isReadingPaused = false
    private var lastFatal: ServerError?

    /// Called once on the reactor's thread when the connection is closed, whoever closed it.
    var onClose: (() -> Void)?
    /// When the connection was last given back to its pool.
    var idleSince = ContinuousClock.now
    /// Whether user SQL may have left something in the session (settings, locks, temporary objects) that the next owner must not find.
    package private(set) var isDirty = false
    /// Whether the server was asked to cancel something here: such a connection is not used again.
    private(set) var isSpent = false
    /// Asks the server to stop what runs here, over another connection; calls what it is given where that cannot be done. `PQcancel` does it otherwise.
    package var stopper: ((_ otherwise: @escaping @Sendable () -> Void) -> Void)?
    /// What the owner knows about the node behind this connection, set once after it was checked.
    package var attachment: (any Sendable)?
    /// The transaction whose branch the session is, as its owner says.
    package private(set) var transaction: TransactionID?

    /// Closes the session once its transaction has ended: somebody else may have asked the server to cancel something here, and may do so late (A3).
    package func spend() { reactor.execute { self.isSpent = true } }

    /// Notes whose branch the session is.
    package func belong(to transaction: TransactionID?) {
        if reactor.isCurrent { self.transaction = transaction } else { reactor.execute { self.transaction = transaction } }
    }

    /// Adopts a connection that has been established. Confined.
    init(adopting connection: OpaquePointer, reactor: Reactor, logger: Logger, keepsStatements: Bool) {
        self.connection = connection
        self.keepsStatements = keepsStatements
        self.reactor = reactor
        self.logger = logger
        fd = PQsocket(connection)
        backend = PQbackendPID(connection)
        cancelHandle = CancelHandle(connection)
        PQsetnonblocking(connection, 1)
        PQsetNoticeReceiver(connection, { Connection.receive(notice: $1, context: $0) }, Unmanaged.passUnretained(self).toOpaque())
        PQenterPipelineMode(connection)
        token = reactor.register(fd: fd) { [weak self] in self?.socketIsReady() }
    }

    deinit {
        // A connection is closed by its pool; this is the last resort for one that never got there.
        if case .closed = state { return }
        nonisolated(unsafe) let connection = connection
        let reactor = reactor, token = token, fd = fd
        reactor.execute {
            reactor.unregister(token, fd: fd)
            PQfinish(connection)
        }
    }

    package var isClosed: Bool { if case .closed = state { true } else { false } }
    package var isIdle: Bool { if case .idle = state { waiting.isEmpty } else { false } }
    /// Calls that wait for the one that runs.
    var queueLength: Int { waiting.count }
    package var transactionStatus: TransactionStatus { Self.status(connection) }

    /// Notes that user SQL may leave traces in the session. Confined.
    package func markDirty() { isDirty = true }

    /// The session is as new: its settings reset and its prepared statements gone at the server. Confined.
    package func markClean() {
        isDirty = false
        forgetStatements()
    }

    private func forgetStatements() {
        statements.removeAll()
        abandoned.removeAll()
    }

    // MARK: Running batches

    /// Sends a batch and waits for its answer, behind whatever this connection was asked before.
    ///
    /// - Throws: ``ConnectionFailure``. Errors of the server are part of the reply.
    /// Cancellation interrupts the batch as its ``Batch/Interruption`` says; a batch that was not sent yet is taken back.
    nonisolated(nonsending) package func run(_ batch: Batch, deadline: ContinuousClock.Instant? = nil) async throws -> BatchReply {
        let operation = Operation(batch, deadline: deadline)
        return try await withTaskCancellationHandler {
            try await withUnsafeThrowingContinuation { continuation in
                operation.resumes(continuation)
                if reactor.isCurrent { begin(operation) } else { reactor.execute { self.begin(operation) } }
            }
        } onCancel: {
            reactor.execute {
                operation.isCancelled = true
                self.interrupt(operation, .cancelled)
            }
        }
    }

    private func begin(_ operation: Operation) {
        guard operation.isCancelled else { return submit(operation) }
        operation.complete(.failure(ConnectionFailure(kind: .cancelled, wasSent: false, serverError: nil, message: "cancelled")))
    }

    /// Sends a batch and calls `completion` on the reactor's thread with the answer. Confined.
    package func submit(
        _ batch: Batch, deadline: ContinuousClock.Instant? = nil, completion: @escaping (Result<BatchReply, ConnectionFailure>) -> Void
    ) {
        submit(Operation(batch, deadline: deadline, caller: .closure(completion)))
    }

    /// Sends a statement whose rows go to a ``RowStream`` as they arrive. Confined.
    package func stream(
        _ batch: Batch, into stream: RowStream, deadline: ContinuousClock.Instant?,
        completion: @escaping (Result<BatchReply, ConnectionFailure>) -> Void
    ) {
        let operation = Operation(batch, deadline: deadline, caller: .closure(completion))
        operation.stream = stream
        stream.resume = { [weak self] in self?.resumeReading() }
        submit(operation)
    }

    /// Ends a stream whose reader wants no more: the server is asked to stop, and the connection is closed. Confined.
    package func interrupt(_ stream: RowStream) {
        if case .running(let operation) = state, operation.stream === stream { return interrupt(operation, .cancelled) }
        if let operation = waiting.first(where: { $0.stream === stream }) { interrupt(operation, .cancelled) }
    }

    /// Sends a batch that is known by its operation. Confined.
    func submit(_ operation: Operation) {
        switch state {
        case .closed:
            operation.complete(.failure(failure(.closed, wasSent: false)))
        case .running:
            waiting.append(operation)
            arm(operation.deadline)
        case .idle where waiting.isEmpty:
            start(operation)
        case .idle:
            // Its owner asks from inside the answer to the one before: what was asked earlier goes first.
            waiting.append(operation)
            arm(operation.deadline)
        }
    }

    private func start(_ operation: Operation) {
        if let deadline = operation.deadline, deadline <= .now {
            operation.complete(.failure(failure(.timedOut, wasSent: false)))
            startNext()
            return
        }
        state = .running(operation)
        arm(operation.deadline)
        guard operation.copy != nil ? startCopy(operation) : send(operation) else { return lose() }
        flush()
    }

    private func startNext() {
        while case .idle = state, let next = waiting.popFirst() { start(next) }
    }

    private func send(_ operation: Operation) -> Bool {
        guard sendRemovals(operation) else { return false }
        var earlier: Set<StatementText> = []
        for segment in operation.batch.segments {
            var fresh: [StatementText: String] = [:]
            for statement in segment {
                guard send(statement, of: operation, fresh: &fresh, earlier: earlier) else { return false }
            }
            if !fresh.isEmpty { earlier.formUnion(fresh.keys) }
            guard PQpipelineSync(connection) == 1 else { return false }
            operation.steps.append(.synchronise)
        }
        return true
    }

    /// Removes statements that nobody will use again, before a message and apart from it: with another statement before them COMMIT PREPARED and VACUUM
    /// are refused (25001). Not in a failed transaction, which takes nothing but its end.
    private func sendRemovals(_ operation: Operation) -> Bool {
        guard !abandoned.isEmpty, transactionStatus != .failed else { return true }
        let names = abandoned
        abandoned.removeAll()
        for name in names {
            operation.steps.append(.deallocate(name: name))
            guard PQsendQueryParams(connection, "DEALLOCATE \(name)", 0, nil, nil, nil, nil, 0) == 1 else { return false }
        }
        operation.steps.append(.synchroniseRemovals)
        return PQpipelineSync(connection) == 1
    }

    /// `fresh` is what this segment prepares, `earlier` what earlier segments of this message prepare: they may fail first, so nothing can rest on them.
    private func send(_ statement: Statement, of operation: Operation, fresh: inout [StatementText: String], earlier: Set<StatementText>) -> Bool {
        if keepsStatements, let plan = statement.plan, let known = statements.name(for: plan) ?? fresh[plan] {
            return execute(statement, as: known, of: operation)
        }
        guard keepsStatements, let plan = statement.plan, !earlier.contains(plan) else {
            operation.steps.append(.execute(text: nil))
            let format: Int32 = statement.resultFormat == .text ? 0 : 1
            // Given to C as it stands: the implicit conversion of an argument copies it to the heap.
            return statement.text.withCString { text in
                statement.parameters.withPointers { count, types, values, lengths, formats in
                    PQsendQueryParams(connection, text, count, types, values, lengths, formats, format) == 1
                }
            }
        }
        // What has to make room goes with the next message.
        while statements.count + fresh.count >= StatementCache.capacity, let old = statements.evict() { abandoned.append(old) }
        let name = statements.freshName()
        fresh[plan] = name
        operation.steps.append(.prepare(text: plan, name: name))
        let isSent = statement.parameters.withPointers { count, types, _, _, _ in
            PQsendPrepare(connection, name, statement.text, count, types) == 1
        }
        return isSent && execute(statement, as: name, of: operation)
    }

    private func execute(_ statement: Statement, as name: String, of operation: Operation) -> Bool {
        operation.steps.append(.execute(text: statement.plan))
        let format: Int32 = statement.resultFormat == .text ? 0 : 1
        return name.withCString { name in
            statement.parameters.withPointers { count, _, values, lengths, formats in
                PQsendQueryPrepared(connection, name, count, values, lengths, formats, format) == 1
            }
        }
    }

    // MARK: The socket

    func flush() {
        let left = PQflush(connection)
        if left < 0 { return lose() }
        let mustWait = left > 0
        if mustWait != isWaitingToWrite {
            isWaitingToWrite = mustWait
            watch()
        }
    }

    private func watch() {
        reactor.watch(token: token, fd: fd, wantsRead: !isReadingPaused, wantsWrite: isWaitingToWrite)
    }

    private func socketIsReady() {
        if isWaitingToWrite { flush() }
        if case .closed = state { return }
        if !isWaitingToWrite, case .running(let operation) = state { operation.copy?.sent() }
        let isAlive = consumeInput() && PQstatus(connection) == CONNECTION_OK
        process()
        if case .closed = state { return }
        if case .running(let operation) = state, operation.received > ResultLimit.bytes { return interrupt(operation, .tooLarge) }
        if !isAlive || PQstatus(connection) != CONNECTION_OK { lose() }
    }

    /// Takes what the socket has. libpq holds a result until it is complete, so of a long answer the bytes are counted, or at least those that are sure
    /// to have been read: the server may send more meanwhile.
    private func consumeInput() -> Bool {
        guard case .running(let operation) = state, operation.batch.isBounded else { return PQconsumeInput(connection) == 1 }
        operation.reads += 1
        // Most answers come with one read.
        guard operation.reads > 1 else { return PQconsumeInput(connection) == 1 }
        let before = Int(tandem_readable(fd))
        defer { operation.received += max(min(before, ResultLimit.leastRead), before - Int(tandem_readable(fd))) }
        return PQconsumeInput(connection) == 1
    }

    /// Reads what has arrived. Results come in the order of the operation's steps: each statement's results end with nothing (`nil`), a
    /// synchronisation point is a result of its own without such an end.
    func process() {
        while case .running(let operation) = state {
            if let copy = operation.copy { return process(copy, of: operation) }
            var next: OpaquePointer?
            if let stream = operation.stream {
                // libpq wants the row mode to be chosen anew for each statement, before its first result.
                if !operation.isRowModeSet, case .execute? = operation.currentStep { operation.isRowModeSet = PQsetSingleRowMode(connection) == 1 }
                guard readRows(to: stream, &next) else { return }
            } else {
                guard PQisBusy(connection) == 0 else { return }
                next = PQgetResult(connection)
            }
            guard let result = next else {
                guard PQstatus(connection) == CONNECTION_OK, operation.cursor < operation.steps.count else { return }
                // A synchronisation point ends with its own result only. Where the commit fails there (a deferred constraint), its error comes first.
                switch operation.currentStep {
                case .synchronise, .synchroniseRemovals: continue
                case .prepare, .deallocate, .execute, nil: operation.cursor += 1
                }
                operation.isRowModeSet = false
                continue
            }
            take(result, for: operation)
        }
    }

    /// Reads the rows that have arrived, and the first result after them that is no row; false where it has not come yet, or its turn has not.
    private func readRows(to stream: RowStream, _ next: inout OpaquePointer?) -> Bool {
        while !stream.isFull {
            guard PQisBusy(connection) == 0 else {
                stream.handToWaiting()
                return false
            }
            next = PQgetResult(connection)
            guard let row = next, PQresultStatus(row) == PGRES_SINGLE_TUPLE else { return true }
            stream.push(row)
            PQclear(row)
        }
        pauseReading()
        return false
    }

    func take(_ result: OpaquePointer, for operation: Operation) {
        switch PQresultStatus(result) {
        case PGRES_COMMAND_OK, PGRES_TUPLES_OK, PGRES_EMPTY_QUERY:
            switch operation.currentStep {
            case .execute:
                let result = ResultSet(adopting: result)
                if result.hasDroppedStatements { forgetStatements() }
                if operation.batch.isBounded && result.isTooLarge { operation.isTooLarge = true }
                operation.segment.results.append(result)
            case .prepare(let text, let name):
                statements.insert(text, name: name)
                PQclear(result)
            case .deallocate, .synchronise, .synchroniseRemovals, nil: PQclear(result)
            }
        case PGRES_PIPELINE_SYNC:
            PQclear(result)
            if case .synchroniseRemovals = operation.currentStep {
                operation.cursor += 1
                return
            }
            operation.segment.status = Self.status(connection)
            operation.replies.append(operation.segment)
            operation.segment = SegmentReply()
            operation.cursor += 1
            if operation.cursor == operation.steps.count { finish(operation) }
        case PGRES_PIPELINE_ABORTED:
            PQclear(result)
            if case .deallocate(let name) = operation.currentStep { abandoned.append(name) }
        case PGRES_COPY_IN, PGRES_COPY_OUT, PGRES_COPY_BOTH:
            // The caller's text was COPY: the session waits for data that nobody sends.
            PQclear(result)
            close(failure(.refused, wasSent: true, "COPY from or to the client cannot run as an ordinary statement"))
        default:
            let error = ServerError(result)
            // Without a SQLSTATE it is libpq's own word for a broken connection, which `lose` reports.
            let isFromServer = PQresultErrorField(result, 67) != nil
            PQclear(result)
            if error.isFatal && isFromServer { lastFatal = error }
            if isFromServer { note(error, in: operation) }
        }
    }

    func finish(_ operation: Operation) {
        state = .idle
        // Rows that came before an error are not all rows: the reader has to know.
        operation.stream?.finish(operation.replies.lazy.compactMap(\.error).first)
        operation.copy?.finish(operation.replies.lazy.compactMap(\.error).first)
        operation.complete(operation.isTooLarge ? .failure(failure(.tooLarge, wasSent: true)) : .success(BatchReply(segments: operation.replies)))
        startNext()
    }

    // MARK: What is learnt

    /// What an error says about the statements that are kept.
    private func note(_ error: ServerError, in operation: Operation) {
        let step = operation.currentStep
        // What is removed is nobody's statement, so its error is nobody's either.
        if case .deallocate = step {} else if operation.segment.error == nil { operation.segment.error = error }
        switch step {
        case .execute(let text?) where error.isOfStalePlan:
            // "cached plan must not change result type" would come again each time: a table has other columns now. Or the statement is gone.
            if let name = statements.remove(text), error.sqlState == .featureNotSupported { abandoned.append(name) }
        case .deallocate(let name) where error.sqlState == .inFailedTransaction: abandoned.append(name)
        case .execute, .deallocate, .prepare, .synchronise, .synchroniseRemovals, nil: break
        }
    }

    func pauseReading() {
        isReadingPaused = true
        watch()
    }

    func resumeReading() {
        guard !isClosed else { return }
        isReadingPaused = false
        watch()
        // What libpq has buffered already brings no event.
        reactor.later { [weak self] in self?.process() }
    }

    // MARK: Deadlines and cancellation

    /// One timer a connection, armed again only when it fires: a round trip then costs none.
    private func arm(_ deadline: ContinuousClock.Instant?) {
        guard let deadline else { return }
        if let armedUntil, armedUntil <= deadline { return }
        armedUntil = deadline
        reactor.schedule(at: deadline) { [weak self] in self?.timerFired(deadline) }
    }

    private func timerFired(_ deadline: ContinuousClock.Instant) {
        guard armedUntil == deadline else { return }
        armedUntil = nil
        let now = ContinuousClock.now
        if case .running(let operation) = state, let limit = operation.deadline {
            if limit <= now { interrupt(operation, .timedOut) } else { arm(limit) }
        }
        for operation in waiting {
            guard let limit = operation.deadline else { continue }
            if limit <= now { interrupt(operation, .timedOut) } else { arm(limit) }
        }
    }

    func interrupt(_ operation: Operation, _ kind: ConnectionFailure.Kind) {
        if takeBack(operation, kind) { return }
        guard case .running(let current) = state, current === operation else { return }
        // A connection that was sent a cancel is closed, not reused: a late one would hit the next owner's statement.
        guard operation.batch.interruption == .cancel else { return close(failure(kind, wasSent: true)) }
        if keepsStatements {
            askToStop()
            close(failure(kind, wasSent: true))
        } else {
            // A pooler forgets whom a request to cancel means once its client is gone.
            close(failure(kind, wasSent: true)) { [cancelHandle] in cancelHandle.cancel(then: $0) }
        }
    }

    // MARK: The end

    /// Closes the session; what the server has open there aborts. Confined.
    package func close() {
        close(failure(.closed, wasSent: true))
    }

    /// Asks the server to stop a batch that has no answer yet, and goes on waiting for it. The connection takes nothing new afterwards: a cancel that comes
    /// late would hit the wrong statement. Confined.
    func cancel(_ operation: Operation) {
        guard !takeBack(operation), case .running(let current) = state, current === operation else { return }
        isSpent = true
        askToStop()
    }

    private func askToStop() {
        let handle = cancelHandle
        if let stopper { stopper { handle.cancel() } } else { handle.cancel() }
    }

    /// Closes the session if it is waiting for the answer to this batch: whoever waits is told that none came. Confined.
    func close(waitingFor operation: Operation) {
        guard !takeBack(operation), case .running(let current) = state, current === operation else { return }
        close(failure(.cancelled, wasSent: true))
    }

    /// Takes a batch back that has not been sent.
    private func takeBack(_ operation: Operation, _ kind: ConnectionFailure.Kind = .cancelled) -> Bool {
        guard let index = waiting.firstIndex(where: { $0 === operation }) else { return false }
        waiting.remove(at: index)
        operation.complete(.failure(failure(kind, wasSent: false)))
        return true
    }

    func lose() {
        close(failure(.lost, wasSent: true))
    }

    private func failure(_ kind: ConnectionFailure.Kind, wasSent: Bool, _ message: String? = nil) -> ConnectionFailure {
        let text = message ?? (kind == .closed ? "the connection is closed" : String(cString: PQerrorMessage(connection)).trimmed)
        return ConnectionFailure(kind: kind, wasSent: wasSent, serverError: lastFatal, message: text)
    }

    /// - Parameters:
    ///   - reason: What those are told who wait.
    ///   - waiting: Calls what it is given when the socket may be closed, if that has to wait for something.
    private func close(_ reason: ConnectionFailure, after waiting: ((@escaping @Sendable () -> Void) -> Void)? = nil) {
        let before = state
        if case .closed = before { return }
        state = .closed
        abandoned.removeAll()
        reactor.unregister(token, fd: fd)
        PQsetNoticeReceiver(connection, { _, _ in }, nil)
        if let waiting {
            nonisolated(unsafe) let connection = connection
            waiting { [reactor] in reactor.execute { PQfinish(connection) } }
        } else {
            PQfinish(connection)
        }
        if case .running(let operation) = before {
            operation.complete(.failure(reason))
        }
        let never = ConnectionFailure(kind: reason.kind == .lost ? .lost : .closed, wasSent: false, serverError: reason.serverError, message: reason.message)
        while let operation = self.waiting.popFirst() { operation.complete(.failure(never)) }
        let tell = onClose
        onClose = nil
        stopper = nil
        tell?()
    }

    // MARK: What the server says

    static func status(_ connection: OpaquePointer) -> TransactionStatus {
        switch PQtransactionStatus(connection) {
        case PQTRANS_IDLE: .idle
        case PQTRANS_INTRANS: .inTransaction
        case PQTRANS_INERROR: .failed
        default: .unknown
        }
    }

    private static func receive(notice: OpaquePointer?, context: UnsafeMutableRawPointer?) {
        guard let notice, let context else { return }
        let connection = Unmanaged<Connection>.fromOpaque(context).takeUnretainedValue()
        let warning = ServerError(notice)
        // A session that is ended in its wait for a standby says so in a warning, which is its last word.
        if warning.sqlState == .adminShutdown { connection.lastFatal = warning }
        if case .running(let operation) = connection.state {
            if warning.routine == "SyncRepWaitForLSN" { operation.segment.isReplicationUnconfirmed = true }
            if warning.sqlState.rawValue == "25P01" || warning.sqlState.rawValue == "25001" { operation.segment.hasTransactionWarning = true }
        }
        connection.logger.debug(
            "notice from the server",
            metadata: ["pg.severity": "\(warning.severity)", "pg.sqlstate": "\(warning.sqlState)", "pg.message": "\(warning.message)"])
    }
}
