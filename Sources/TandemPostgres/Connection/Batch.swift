/// Statements that travel in one message and are answered together.
///
/// Each segment ends with a synchronisation point: an error skips the rest of its segment and no other. Outside a transaction block a
/// segment is a transaction of its own.
package struct Batch: Sendable {
    /// What a batch may do when its time is over or its task is cancelled.
    package enum Interruption: Sendable {
        /// The server is asked to stop, and the connection is closed: whatever was open there aborts.
        case cancel
        /// A vote, a decision or a verdict: it is never cancelled at the server, where it may be waiting for a standby (A3). The connection
        /// is dropped and the answer is unknown.
        case abandon
    }

    package var segments: [[Statement]]
    package var interruption: Interruption
    /// Whether its results are a user's, who may have asked for more rows than anybody should hold: see ``ResultLimit``.
    package var isBounded = false

    package init(_ statements: [Statement], interruption: Interruption = .cancel, isBounded: Bool = false) {
        segments = [statements]
        self.interruption = interruption
        self.isBounded = isBounded
    }

    package init(segments: [[Statement]], interruption: Interruption = .cancel) {
        self.segments = segments
        self.interruption = interruption
    }
}

/// Where a session stands after a synchronisation point.
package enum TransactionStatus: Sendable, Equatable {
    case idle, inTransaction, failed, unknown
}

/// The answer to one segment of a ``Batch``.
package struct SegmentReply: Sendable {
    /// The results in order, as far as the segment came.
    package var results: [ResultSet] = []
    /// The error that ended the segment, if one did; its index is `results.count`.
    package var error: ServerError?
    package var status = TransactionStatus.unknown
    /// The server said that a standby may not have what was committed (A3: known by its routine, since texts are translated).
    package var isReplicationUnconfirmed = false
    /// The server said that there is no transaction in progress (25P01) or that one already is (25001).
    package var hasTransactionWarning = false

    /// The command tag of the last statement: `COMMIT`, `PREPARE TRANSACTION`, ...
    package var lastTag: String { results.last?.tag ?? "" }
}

/// The answer to a ``Batch``.
package struct BatchReply: Sendable {
    package var segments: [SegmentReply]

    /// The only segment of a batch that has one.
    package var only: SegmentReply { segments[segments.count - 1] }
}
