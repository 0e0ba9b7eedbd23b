extension Connection {
    /// Sends one batch to each of several connections of one reactor at the same time and waits for all answers: one suspension, however
    /// many connections.
    ///
    /// It does not end early when the caller's task is cancelled: what is sent here has to be known.
    ///
    /// - Parameters:
    ///   - calls: the connections, all of `reactor`, and what each is sent.
    ///   - deadline: when the wait for an answer ends.
    /// - Returns: the answers in the order of the calls.
    package static func gather(
        _ calls: [(connection: Connection, batch: Batch)], on reactor: Reactor, deadline: ContinuousClock.Instant
    ) async -> [Result<BatchReply, ConnectionFailure>] {
        if calls.isEmpty { return [] }
        return await withCheckedContinuation { continuation in
            reactor.execute {
                let answers = Answers(calls.count, continuation)
                for (index, call) in calls.enumerated() {
                    call.connection.submit(call.batch, deadline: deadline) { answers.put($0, at: index) }
                }
            }
        }
    }

    /// Confined to the reactor of the connections.
    private final class Answers: @unchecked Sendable {
        private var answers: [Result<BatchReply, ConnectionFailure>?]
        private var missing: Int
        private let continuation: CheckedContinuation<[Result<BatchReply, ConnectionFailure>], Never>

        init(_ count: Int, _ continuation: CheckedContinuation<[Result<BatchReply, ConnectionFailure>], Never>) {
            answers = Array(repeating: nil, count: count)
            missing = count
            self.continuation = continuation
        }

        func put(_ answer: Result<BatchReply, ConnectionFailure>, at index: Int) {
            answers[index] = answer
            missing -= 1
            if missing == 0 { continuation.resume(returning: answers.compactMap { $0 }) }
        }
    }
}
