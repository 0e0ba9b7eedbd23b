/// The answer to a statement whose rows went elsewhere, for the one who waits for it. Confined to the reactor of its connection.
package final class StreamEnd: @unchecked Sendable {
    private var result: Result<BatchReply, ConnectionFailure>?
    private var waiter: CheckedContinuation<Result<BatchReply, ConnectionFailure>, Never>?

    package init() {}

    package func put(_ answer: Result<BatchReply, ConnectionFailure>) {
        result = answer
        waiter?.resume(returning: answer)
        waiter = nil
    }

    package func answer(on reactor: Reactor) async -> Result<BatchReply, ConnectionFailure> {
        await withCheckedContinuation { continuation in
            reactor.execute {
                if let result = self.result { continuation.resume(returning: result) } else { self.waiter = continuation }
            }
        }
    }
}
