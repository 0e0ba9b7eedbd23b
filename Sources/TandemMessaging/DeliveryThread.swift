import Synchronization
import TandemCore

/// Hands batches to a thread, one at a time: for the libraries of brokers, whose calls block.
///
/// The sink's `deliver` is an asynchronous call here; the thread takes the batch by ``next()`` and ends it by ``end(_:)``.
package final class DeliveryThread: Sendable {
    /// What the thread has to do.
    package enum Work: Sendable {
        case deliver([Delivery])
        /// Nothing, until it is woken.
        case wait
        /// The sink is closed: the thread ends.
        case end
    }

    private struct State {
        var batch: [Delivery] = []
        var continuation: CheckedContinuation<[DeliveryVerdict], any Error>?
        /// Batches are counted, so that a cancellation that comes late is not taken for the next one's.
        var count = 0
        var number = 0
        var cancelled = 0
        var isClosed = false
        var isRunning = false
    }

    private let state = Mutex(State())

    package init() {}

    /// Delivers a batch.
    ///
    /// - Parameters:
    ///   - batch: the events.
    ///   - start: starts the thread; called where there is none.
    ///   - wake: wakes it.
    /// - Returns: the verdicts that the thread ends it with.
    /// - Throws: what it ends it with.
    package func deliver(_ batch: [Delivery], start: () -> Void, wake: @Sendable () -> Void) async throws -> [DeliveryVerdict] {
        if batch.isEmpty { return [] }
        let number = state.withLock { state in
            state.count += 1
            return state.count
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let (isRefused, starts) = state.withLock { state in
                    guard !state.isClosed, state.continuation == nil else { return (true, false) }
                    state.batch = batch
                    state.continuation = continuation
                    state.number = number
                    let starts = !state.isRunning
                    state.isRunning = true
                    return (false, starts)
                }
                if isRefused {
                    return continuation.resume(throwing: TandemError(.sinkUnavailable, "the sink is closed, or busy with another batch", nextStep: ""))
                }
                if starts { start() } else { wake() }
            }
        } onCancel: {
            state.withLock { $0.cancelled = max($0.cancelled, number) }
            wake()
        }
    }

    /// Lets the thread end, when it has ended its batch.
    package func close(wake: () -> Void) {
        state.withLock { $0.isClosed = true }
        wake()
    }

    /// Whether the batch is wanted no more.
    package var isCancelled: Bool { state.withLock { $0.cancelled >= $0.number } }

    /// What the thread has to do now.
    package func next() -> Work {
        state.withLock { state in
            if state.continuation != nil { return .deliver(state.batch) }
            if !state.isClosed { return .wait }
            state.isRunning = false
            return .end
        }
    }

    /// Ends the batch that ``next()`` gave out.
    package func end(_ result: Result<[DeliveryVerdict], any Error>) {
        let continuation = state.withLock { state in
            defer {
                state.continuation = nil
                state.batch = []
            }
            return state.continuation
        }
        continuation?.resume(with: result)
    }
}
