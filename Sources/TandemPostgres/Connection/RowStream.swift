import DequeModule

/// Rows between the server and one reader, with a bound: the connection stops reading from its socket while the bound is reached, so that a
/// slow reader slows the server down and memory stays flat.
///
/// Confined to the reactor of its connection.
package final class RowStream: @unchecked Sendable {
    /// Rows that may wait for the reader, and how many bytes they may have: of both no more than what came with one read is above it.
    static let bound = 512, boundInBytes = 1 << 20

    private enum State {
        case open
        case ended
        case failed(any Error)
    }

    private let filling = RowBlockBuilder()
    private var blocks: Deque<RowBlock> = []
    private var waitingRows = 0, waitingBytes = 0
    private var state = State.open
    private var reader: CheckedContinuation<RowBlock?, any Error>?
    private var isDraining = false
    /// Called when there is room again.
    var resume: (() -> Void)?

    package init() {}

    /// Rows that wait for the reader.
    var queueLength: Int { waitingRows + filling.rowCount }
    var isFull: Bool { !isDraining && (queueLength >= Self.bound || waitingBytes + filling.byteCount >= Self.boundInBytes) }

    /// Takes the row of a result, which is the caller's.
    func push(_ row: OpaquePointer) {
        if isDraining { return }
        filling.append(row)
        if filling.isFull { hand() }
    }

    /// Hands what has arrived to a reader who waits for it: a row is not held back while the server has nothing more. Without one it is filled up further.
    func handToWaiting() {
        if reader != nil { hand() }
    }

    private func hand() {
        guard let block = filling.take() else { return }
        if let reader {
            self.reader = nil
            reader.resume(returning: block)
        } else {
            waitingRows += block.rowCount
            waitingBytes += block.byteCount
            blocks.append(block)
        }
    }

    func finish(_ error: (any Error)?) {
        guard case .open = state else { return }
        hand()
        state = error.map { .failed($0) } ?? .ended
        resume = nil
        guard let reader else { return }
        self.reader = nil
        if let error { reader.resume(throwing: error) } else { reader.resume(returning: nil) }
    }

    /// Rows that have arrived; nil at the end. One reader at a time, who is woken once for many rows.
    func next(_ reader: CheckedContinuation<RowBlock?, any Error>) {
        if let block = blocks.popFirst() {
            let wasFull = isFull
            waitingRows -= block.rowCount
            waitingBytes -= block.byteCount
            if wasFull, !isFull { resume?() }
            return reader.resume(returning: block)
        }
        if let block = filling.take() { return reader.resume(returning: block) }
        switch state {
        case .open: self.reader = reader
        case .ended: reader.resume(returning: nil)
        case .failed(let error): reader.resume(throwing: error)
        }
    }

    /// The reader has seen enough: the rest is read from the server and dropped, so that the transaction can go on.
    package func drain() {
        isDraining = true
        blocks.removeAll()
        filling.drop()
        (waitingRows, waitingBytes) = (0, 0)
        resume?()
    }
}
