import DequeModule
import TandemCore

/// The data of one COPY between the server and one task, in chunks of whole rows, with a bound in both directions. Confined to the reactor of its
/// connection.
package final class CopyChannel: @unchecked Sendable {
    enum State {
        /// The statement is on its way.
        case starting
        /// The server sends rows.
        case out
        /// The server waits for rows.
        case `in`
        /// All rows have been sent or read; the server says what became of them.
        case ending
        case ended
    }

    package enum Direction: Sendable { case fromServer, toServer }

    let direction: Direction
    /// Whether the statement turned out to be a COPY of this direction.
    package private(set) var hasBegun = false

    /// Bytes that wait for the reader, at most, and those of one chunk.
    static let bound = 1 << 20, chunk = 1 << 16

    var state = State.starting
    private var chunks: Deque<[UInt8]> = []
    private var waiting = 0
    private var filling: [UInt8] = []
    private var failure: (any Error)?
    private var reader: CheckedContinuation<[UInt8]?, any Error>?
    private var writer: CheckedContinuation<Bool, Never>?
    private var isDraining = false
    /// Called when there is room again.
    var resume: (() -> Void)?
    /// Sends bytes to the server, or the end of them; set while the statement runs.
    var send: ((CopyMessage) -> Void)?

    package init(_ direction: Direction) { self.direction = direction }

    // MARK: From the server

    /// The server begins to send rows: whether they are wanted.
    func beginReading() -> Bool {
        state = .out
        hasBegun = direction == .fromServer
        return hasBegun
    }

    var isFull: Bool { waiting >= Self.bound && !isDraining }

    func append(_ row: UnsafeRawBufferPointer) {
        if isDraining { return }
        if filling.isEmpty { filling.reserveCapacity(Self.chunk + row.count) }
        filling.append(contentsOf: row)
        if filling.count >= Self.chunk { hand() }
    }

    /// Hands the reader what has arrived: a chunk is not held back while the server has nothing more.
    func hand() {
        guard !filling.isEmpty else { return }
        let chunk = filling
        filling = []
        if let reader {
            self.reader = nil
            reader.resume(returning: chunk)
        } else {
            waiting += chunk.count
            chunks.append(chunk)
        }
    }

    /// The next chunk, or `nil` at the end. One reader at a time.
    package func next(_ reader: CheckedContinuation<[UInt8]?, any Error>) {
        if let chunk = chunks.popFirst() {
            waiting -= chunk.count
            if waiting < Self.bound / 2 { resume?() }
            return reader.resume(returning: chunk)
        }
        guard case .ended = state else {
            self.reader = reader
            return
        }
        if let failure { reader.resume(throwing: failure) } else { reader.resume(returning: nil) }
    }

    /// The reader has seen enough: the rest is read and dropped.
    package func drain() {
        isDraining = true
        chunks.removeAll()
        filling = []
        waiting = 0
        resume?()
    }

    // MARK: To the server

    /// Sends a chunk once the server takes one, and says whether it wants more.
    package func write(_ bytes: [UInt8], _ writer: CheckedContinuation<Bool, Never>) {
        switch state {
        case .in:
            self.writer = writer
            send?(.data(bytes))
        case .starting:
            pending = bytes
            self.writer = writer
        case .out, .ending, .ended: writer.resume(returning: false)
        }
    }

    /// What was written before the server was ready for it.
    private var pending: [UInt8]?
    private var pendingEnd: CopyMessage?

    /// Ends the rows: with a reason, all of them are refused.
    package func end(refusing reason: String? = nil) {
        let message = CopyMessage.end(reason)
        if case .starting = state { pendingEnd = message } else if case .in = state { send?(message) }
    }

    /// The server is ready for rows.
    func begin() {
        state = .in
        hasBegun = true
        if let pending {
            self.pending = nil
            send?(.data(pending))
        }
        if let end = pendingEnd {
            pendingEnd = nil
            send?(end)
        }
    }

    /// What was sent has left.
    func sent() {
        // Before the server is ready nothing has left, whatever else it says meanwhile.
        guard case .in = state, let writer else { return }
        self.writer = nil
        writer.resume(returning: true)
    }

    // MARK: The end

    func finish(_ error: (any Error)?) {
        if case .ended = state { return }
        hand()
        state = .ended
        failure = error
        (resume, send) = (nil, nil)
        if let writer {
            self.writer = nil
            writer.resume(returning: false)
        }
        guard let reader else { return }
        self.reader = nil
        if let error { reader.resume(throwing: error) } else { reader.resume(returning: nil) }
    }
}

/// What a COPY sends.
enum CopyMessage {
    case data([UInt8])
    /// With a reason the server refuses what came before.
    case end(String?)
}
