import TandemCore

/// A batch on its way: what is still to be read for it, and whom to tell.
///
/// Confined to the reactor of its connection once it is submitted.
final class Operation: @unchecked Sendable {
    /// What the server answers next, in order.
    enum Step {
        case prepare(text: StatementText, name: String)
        case deallocate(name: String)
        /// With its text where it is a prepared statement.
        case execute(text: StatementText?)
        case synchronise
        /// Ends the removals at the front, which are nobody's business but the connection's.
        case synchroniseRemovals
    }

    let batch: Batch
    let deadline: ContinuousClock.Instant?
    var steps: [Step] = []
    var cursor = 0
    var segment = SegmentReply()
    var replies: [SegmentReply] = []
    /// Set for a stream: receives rows as they come instead of collecting them.
    var stream: RowStream?
    /// Set for a COPY: its data goes there.
    var copy: CopyChannel?
    var isRowModeSet = false
    /// How often its answer has been read from the socket, and how many bytes that were at least.
    var reads = 0, received = 0
    /// Whether a result is more than its caller may hold.
    var isTooLarge = false
    /// Whether the task that waits for it was cancelled before it was submitted.
    var isCancelled = false
    private var caller: Caller

    /// Who is told.
    enum Caller {
        case nobody
        case task(UnsafeContinuation<BatchReply, any Error>)
        case closure((Result<BatchReply, ConnectionFailure>) -> Void)
    }

    init(_ batch: Batch, deadline: ContinuousClock.Instant?, caller: Caller = .nobody) {
        self.batch = batch
        self.deadline = deadline
        self.caller = caller
        let count = batch.segments.reduce(0) { $0 + $1.count }
        // Each statement is one step where it is prepared already, which it nearly always is.
        steps.reserveCapacity(count + batch.segments.count)
        replies.reserveCapacity(batch.segments.count)
        segment.results.reserveCapacity(count)
    }

    var currentStep: Step? { cursor < steps.count ? steps[cursor] : nil }

    /// Names the task that waits. Before it is submitted.
    func resumes(_ continuation: UnsafeContinuation<BatchReply, any Error>) { caller = .task(continuation) }

    /// Tells the caller, once; what comes later is dropped.
    func complete(_ result: Result<BatchReply, ConnectionFailure>) {
        let caller = caller
        self.caller = .nobody
        // A reader of rows waits for them and not for this answer.
        if case .failure(let failure) = result {
            stream?.finish(failure)
            copy?.finish(failure)
        }
        switch caller {
        case .nobody: break
        case .closure(let tell): tell(result)
        case .task(let continuation):
            switch result {
            case .success(let reply): continuation.resume(returning: reply)
            case .failure(let failure): continuation.resume(throwing: failure)
            }
        }
    }
}
