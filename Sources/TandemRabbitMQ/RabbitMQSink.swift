import CRabbitMQ
import Foundation
import Synchronization
import TandemCore
public import TandemMessaging

/// RabbitMQ as a sink, over AMQP 0-9-1 with publisher confirms.
///
/// What it promises: `delivered` means that the broker has confirmed the message, which is persistent; with a durable queue it survives the broker's crash. Messages are mandatory: one for
/// which there is no queue is refused, and not lost. After a lost connection everything that was not confirmed is sent again: duplicates, with the event's id as `message_id`. Messages
/// are published in order, up to `window` of them before the first is confirmed; where one of them is refused or rejected, later ones of its key may have been taken already.
///
/// A message has the event's payload as its body, `content_type`, `message_id` (the event's id), `type` (the topic), the event's headers, and the attributes of a CloudEvent as headers
/// `cloudEvents:NAME`.
public final class RabbitMQSink: Sink {
    private struct Job {
        let batch: [Delivery]
        let continuation: CheckedContinuation<[DeliveryVerdict], any Error>
    }

    private struct State {
        var job: Job?
        var isCancelled = false
        var isClosed = false
        var isRunning = false
    }

    private let configuration: RabbitMQConfiguration
    private let state = Mutex(State())
    private let wake: Int32

    /// A sink. It connects when it has something to deliver.
    ///
    /// - Parameter configuration: the broker, and where events go there.
    public init(_ configuration: RabbitMQConfiguration) {
        self.configuration = configuration
        wake = tandem_wake_make()
    }

    deinit { Glibc.close(wake) }

    /// Publishes events and waits until the broker has confirmed or returned each.
    ///
    /// - Parameter batch: the events.
    /// - Returns: a verdict for each: refused is one for which the exchange has no queue.
    /// - Throws: `sinkUnavailable` where the broker cannot be reached, has no such exchange, confirms nothing in time, or rejects a message (a queue is full).
    ///   `CancellationError`: the connection is given up, and nobody knows what of the batch was taken.
    public func deliver(_ batch: [Delivery]) async throws -> [DeliveryVerdict] {
        if batch.isEmpty { return [] }
        try Task.checkCancellation()
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let (isRefused, starts) = state.withLock { state in
                    guard !state.isClosed, state.job == nil else { return (true, false) }
                    state.job = Job(batch: batch, continuation: continuation)
                    state.isCancelled = false
                    let starts = !state.isRunning
                    state.isRunning = true
                    return (false, starts)
                }
                if isRefused {
                    return continuation.resume(throwing: TandemError(.sinkUnavailable, "the sink is closed, or busy with another batch", nextStep: ""))
                }
                // A connection belongs to one thread, which also answers the broker's heartbeats while there is nothing to do.
                if starts { Thread.detachNewThread { self.work() } } else { tandem_wake_up(wake) }
            }
        } onCancel: {
            state.withLock { $0.isCancelled = true }
            tandem_wake_up(wake)
        }
    }

    /// Gives the connection up.
    public func close() async {
        state.withLock { $0.isClosed = true }
        tandem_wake_up(wake)
    }

    // MARK: The connection's thread

    private var isCancelled: Bool { state.withLock { $0.isCancelled } }

    private func work() {
        var connection: RabbitMQConnection?
        while true {
            let (job, isClosed) = state.withLock { state -> (Job?, Bool) in
                if state.isClosed && state.job == nil {
                    state.isRunning = false
                    return (nil, true)
                }
                return (state.job, false)
            }
            if isClosed { return }
            if let job {
                let result = Result<[DeliveryVerdict], any Error> {
                    let open = try connection ?? RabbitMQConnection(configuration, wake: wake)
                    if connection == nil { try open.confirm() }
                    connection = open
                    return try open.deliver(job.batch) { isCancelled }
                }
                // After an error it is of no more use.
                if case .failure = result { connection = nil }
                state.withLock { $0.job = nil }
                job.continuation.resume(with: result)
            } else if let open = connection {
                if !open.idle() { connection = nil }
            } else {
                tandem_wake_wait(wake)
                tandem_wake_empty(wake)
            }
        }
    }
}
