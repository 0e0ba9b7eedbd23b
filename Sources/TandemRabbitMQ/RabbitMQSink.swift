import CRabbitMQ
import Foundation
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
    private let configuration: RabbitMQConfiguration
    private let thread = DeliveryThread()
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
        // A connection belongs to one thread, which also answers the broker's heartbeats while there is nothing to do.
        try await thread.deliver(batch) {
            Thread.detachNewThread { self.work() }
        } wake: { [wake] in
            tandem_wake_up(wake)
        }
    }

    /// Gives the connection up.
    public func close() async {
        thread.close { tandem_wake_up(wake) }
    }

    private func connect() throws -> RabbitMQConnection {
        let connection = try RabbitMQConnection(configuration, wake: wake)
        try connection.confirm()
        return connection
    }

    private func work() {
        var connection: RabbitMQConnection?
        while true {
            switch thread.next() {
            case .end: return
            case .deliver(let batch):
                let result = Result<[DeliveryVerdict], any Error> {
                    if thread.isCancelled { throw CancellationError() }
                    let open = try connection ?? thread.prepare { try connect() }
                    connection = open
                    return try open.deliver(batch) { thread.isCancelled }
                }
                // After an error it is of no more use.
                if case .failure = result { connection = nil }
                thread.end(result)
            case .wait:
                if let open = connection {
                    if !open.idle() { connection = nil }
                } else {
                    tandem_wake_wait(wake)
                    tandem_wake_empty(wake)
                }
            }
        }
    }
}
