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
    }

    let batch: Batch
    let deadline: ContinuousClock.Instant?
    var steps: [Step] = []
    var cursor = 0
    var segment = SegmentReply()
    var replies: [SegmentReply] = []
    /// Set for a stream: receives rows as they come instead of collecting them.
    var stream: RowStream?
    var isRowModeSet = false
    private var completion: ((Result<BatchReply, ConnectionFailure>) -> Void)?

    init(_ batch: Batch, deadline: ContinuousClock.Instant?, completion: @escaping (Result<BatchReply, ConnectionFailure>) -> Void) {
        self.batch = batch
        self.deadline = deadline
        self.completion = completion
    }

    var currentStep: Step? { cursor < steps.count ? steps[cursor] : nil }

    /// Tells the caller, once; what comes later is dropped.
    func complete(_ result: Result<BatchReply, ConnectionFailure>) {
        let tell = completion
        completion = nil
        tell?(result)
    }
}
