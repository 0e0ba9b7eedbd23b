import CLibPQ

/// COPY, which libpq runs outside of its pipeline mode only.
extension Connection {
    /// Runs COPY, whose rows go through a ``CopyChannel``. Confined.
    package func copy(
        _ statement: Statement, through channel: CopyChannel, deadline: ContinuousClock.Instant?,
        completion: @escaping (Result<BatchReply, ConnectionFailure>) -> Void
    ) {
        let operation = Operation(Batch([statement]), deadline: deadline, caller: .closure(completion))
        operation.copy = channel
        submit(operation)
    }

    /// Ends a COPY that nobody wants to go on: the server is asked to stop, and the connection is closed. Confined.
    package func interrupt(_ channel: CopyChannel) {
        if case .running(let operation) = state, operation.copy === channel { return interrupt(operation, .cancelled) }
        if let operation = waiting.first(where: { $0.copy === channel }) { interrupt(operation, .cancelled) }
    }

    /// libpq copies outside of its pipeline mode only.
    func startCopy(_ operation: Operation) -> Bool {
        guard let statement = operation.batch.segments.first?.first, PQexitPipelineMode(connection) == 1 else { return false }
        operation.steps.append(.execute(text: nil))
        operation.copy?.resume = { [weak self] in self?.resumeReading() }
        operation.copy?.send = { [weak self] in self?.send($0, of: operation) }
        return statement.text.withCString { PQsendQueryParams(connection, $0, 0, nil, nil, nil, nil, 0) == 1 }
    }

    func process(_ copy: CopyChannel, of operation: Operation) {
        while true {
            switch copy.state {
            case .starting, .ending:
                guard PQisBusy(connection) == 0 else { return }
                guard let result = PQgetResult(connection) else { return finishCopy(operation) }
                switch PQresultStatus(result) {
                case PGRES_COPY_OUT:
                    PQclear(result)
                    // Rows that nobody asked for are read and dropped; the caller is told at the end.
                    if !copy.beginReading() { copy.drain() }
                case PGRES_COPY_IN where copy.direction == .toServer:
                    PQclear(result)
                    copy.begin()
                case PGRES_COPY_IN:
                    PQclear(result)
                    guard PQputCopyEnd(connection, "nobody sends rows") == 1 else { return lose() }
                    copy.state = .ending
                    flush()
                default: take(result, for: operation)
                }
            case .out:
                if copy.isFull { return pauseReading() }
                var row: UnsafeMutablePointer<CChar>?
                let count = PQgetCopyData(connection, &row, 1)
                if count > 0 {
                    copy.append(UnsafeRawBufferPointer(start: row, count: Int(count)))
                    PQfreemem(row)
                } else if count == 0 {
                    return copy.hand()
                } else {
                    copy.state = .ending
                }
            case .in, .ended: return
            }
        }
    }

    func send(_ message: CopyMessage, of operation: Operation) {
        guard case .running(let current) = state, current === operation, let copy = operation.copy else { return }
        switch message {
        case .data(let bytes):
            let isTaken = bytes.withUnsafeBytes { PQputCopyData(connection, $0.baseAddress?.assumingMemoryBound(to: CChar.self), Int32($0.count)) == 1 }
            guard isTaken else { return lose() }
            flush()
            if !isWaitingToWrite { copy.sent() }
        case .end(let reason):
            guard PQputCopyEnd(connection, reason) == 1 else { return lose() }
            copy.state = .ending
            flush()
            process()
        }
    }

    func finishCopy(_ operation: Operation) {
        // What libpq has no more results of may be a connection that broke.
        guard PQstatus(connection) == CONNECTION_OK, PQenterPipelineMode(connection) == 1 else { return lose() }
        operation.segment.status = Self.status(connection)
        operation.replies.append(operation.segment)
        operation.segment = SegmentReply()
        finish(operation)
    }
}
