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
        /// The batch that the thread is at, or was at last; another one than `number` where that was given up while the thread was getting ready for it.
        var taken = 0
        /// Whether the thread waits for something before it hands the batch over.
        var isPreparing = false
        var isClosed = false
        var isRunning = false

        /// Leaves the batch, and says who waits for it.
        mutating func giveUp() -> CheckedContinuation<[DeliveryVerdict], any Error>? {
            defer {
                continuation = nil
                batch = []
            }
            return continuation
        }
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
                let (refusal, starts) = state.withLock { state -> ((any Error)?, Bool) in
                    guard state.cancelled < number else { return (CancellationError(), false) }
                    guard !state.isClosed, state.continuation == nil else {
                        return (TandemError(.sinkUnavailable, "the sink is closed, or busy with another batch", nextStep: ""), false)
                    }
                    state.batch = batch
                    state.continuation = continuation
                    state.number = number
                    let starts = !state.isRunning
                    state.isRunning = true
                    return (nil, starts)
                }
                if let refusal { return continuation.resume(throwing: refusal) }
                if starts { start() } else { wake() }
            }
        } onCancel: {
            let unbegun = state.withLock { state in
                state.cancelled = max(state.cancelled, number)
                // Nothing of it is handed over yet.
                return state.number == number && (state.taken != number || state.isPreparing) ? state.giveUp() : nil
            }
            unbegun?.resume(throwing: CancellationError())
            wake()
        }
    }

    /// Lets the thread end, when it has ended its batch.
    package func close(wake: () -> Void) {
        state.withLock { $0.isClosed = true }
        wake()
    }

    /// Whether the batch that ``next()`` gave out is wanted no more.
    package var isCancelled: Bool { state.withLock { $0.cancelled >= $0.taken } }

    /// Does what a batch needs before anything of it is handed over, and what blocks: connecting. Where the batch is cancelled meanwhile, its delivery ends at once, and the thread goes on
    /// by itself.
    ///
    /// - Parameter body: what there is to do.
    /// - Returns: what it returns.
    /// - Throws: what it throws; `CancellationError` where the batch is cancelled.
    package func prepare<Value>(_ body: () throws -> Value) throws -> Value {
        func begins(_ isPreparing: Bool) throws {
            let isCancelled = state.withLock { state in
                state.isPreparing = isPreparing
                return state.cancelled >= state.taken
            }
            if isCancelled { throw CancellationError() }
        }
        defer { state.withLock { $0.isPreparing = false } }
        try begins(true)
        let value = try body()
        try begins(false)
        return value
    }

    /// What the thread has to do now.
    package func next() -> Work {
        state.withLock { state in
            if state.continuation != nil {
                state.taken = state.number
                return .deliver(state.batch)
            }
            if !state.isClosed { return .wait }
            state.isRunning = false
            return .end
        }
    }

    /// Ends the batch that ``next()`` gave out, unless it was given up.
    package func end(_ result: Result<[DeliveryVerdict], any Error>) {
        let continuation = state.withLock { $0.taken == $0.number ? $0.giveUp() : nil }
        continuation?.resume(with: result)
    }
}
