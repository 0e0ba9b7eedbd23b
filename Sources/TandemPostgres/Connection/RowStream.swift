import DequeModule

/// Rows between the server and one reader, in chunks, with a bound: the connection stops reading from its socket while the bound is
/// reached, so that a slow reader slows the server down and memory stays flat.
///
/// Confined to the reactor of its connection.
package final class RowStream: @unchecked Sendable {
    /// Rows that may wait for the reader.
    static let bound = 512

    private enum State {
        case open
        case ended
        case failed(any Error)
    }

    private var rows: Deque<ResultSet> = []
    private var state = State.open
    private var reader: CheckedContinuation<[ResultSet], any Error>?
    private var isDraining = false
    /// Called when there is room again.
    var resume: (() -> Void)?

    /// Rows that wait for the reader.
    var queueLength: Int { rows.count }
    var isFull: Bool { rows.count >= Self.bound && !isDraining }

    func push(_ row: ResultSet) {
        if isDraining { return }
        if let reader {
            self.reader = nil
            reader.resume(returning: [row])
        } else {
            rows.append(row)
        }
    }

    func finish(_ error: (any Error)?) {
        guard case .open = state else { return }
        state = error.map { .failed($0) } ?? .ended
        resume = nil
        guard let reader else { return }
        self.reader = nil
        if let error { reader.resume(throwing: error) } else { reader.resume(returning: []) }
    }

    /// The rows that have arrived, at least one; none at the end. One reader at a time, who is woken once for many rows.
    func next(_ reader: CheckedContinuation<[ResultSet], any Error>) {
        if !rows.isEmpty {
            let arrived = Array(rows)
            rows.removeAll(keepingCapacity: true)
            resume?()
            return reader.resume(returning: arrived)
        }
        switch state {
        case .open: self.reader = reader
        case .ended: reader.resume(returning: [])
        case .failed(let error): reader.resume(throwing: error)
        }
    }

    package init() {}

    /// The reader has seen enough: the rest is read from the server and dropped, so that the transaction can go on.
    package func drain() {
        isDraining = true
        rows.removeAll()
        resume?()
    }
}
