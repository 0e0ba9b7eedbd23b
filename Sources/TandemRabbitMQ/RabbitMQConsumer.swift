import CRabbitMQ
import Foundation
public import Logging
import Synchronization
import TandemCore

/// Takes messages from a queue of RabbitMQ, and acknowledges each when its handler has returned.
///
/// A message whose handler throws, or whose acknowledgement is lost, comes again: a handler receives it in the transaction of its effects.
///
/// ```swift
/// let consumer = RabbitMQConsumer(broker, queue: "orders", logger: logger) { message in
///     guard let event = message.event else { return }
///     try await inbox.handle(event, by: "billing") { branch in
///         try await branch.execute("INSERT INTO invoice ...")
///     }
/// }
/// try await consumer.run()
/// ```
public struct RabbitMQConsumer: Sendable {
    /// What handles a message; it is acknowledged when this returns.
    public typealias Handler = @Sendable (_ message: RabbitMQMessage) async throws -> Void

    private let configuration: RabbitMQConfiguration
    private let queue: String
    private let prefetch: Int
    private let wait: Duration
    private let logger: Logger
    private let handler: Handler

    /// A consumer.
    ///
    /// - Parameters:
    ///   - configuration: the broker.
    ///   - queue: the queue, which has to be there.
    ///   - prefetch: how many messages the broker brings before the first is acknowledged. They are handled one after the other, in order.
    ///   - wait: how long after an error a message is given back, and a connection is tried again.
    ///   - logger: is told of handlers that fail and of a broker that cannot be reached.
    ///   - handler: what handles a message.
    public init(
        _ configuration: RabbitMQConfiguration, queue: String, prefetch: Int = 64, retryingAfter wait: Duration = .seconds(1), logger: Logger,
        handler: @escaping Handler
    ) {
        self.configuration = configuration
        self.queue = queue
        self.prefetch = prefetch
        self.wait = wait
        self.logger = logger
        self.handler = handler
    }

    /// Handles messages until the task is cancelled; a broker that is down is waited for.
    ///
    /// - Throws: nothing. Cancellation gives back what is not acknowledged, and ends without an error.
    public func run() async throws {
        while !Task.isCancelled {
            let session = Session(configuration, queue, prefetch, logger)
            await withTaskCancellationHandler {
                await handle(session)
            } onCancel: {
                session.close()
            }
            session.close()
            do { try await Task.sleep(for: wait) } catch { return }
        }
    }

    /// Handles what a connection brings, until it ends.
    private func handle(_ session: Session) async {
        for await message in session.messages() {
            do {
                try await handler(message.message)
                session.settle(message.tag, isDone: true)
            } catch {
                logger.warning(
                    "a message could not be handled; it is given back",
                    metadata: ["rabbitmq.queue": "\(queue)", "tandem.event": "\(message.message.id ?? "")", "tandem.reason": "\(error)"])
                // Not at once again.
                try? await Task.sleep(for: wait)
                session.settle(message.tag, isDone: false)
            }
        }
    }

    /// One connection, with a thread of its own.
    private final class Session: Sendable {
        private struct State {
            var settled: [(tag: UInt64, isDone: Bool)] = []
            var isClosed = false
        }

        private let configuration: RabbitMQConfiguration
        private let queue: String
        private let prefetch: Int
        private let logger: Logger
        private let state = Mutex(State())
        private let wake: Int32

        init(_ configuration: RabbitMQConfiguration, _ queue: String, _ prefetch: Int, _ logger: Logger) {
            self.configuration = configuration
            self.queue = queue
            self.prefetch = prefetch
            self.logger = logger
            wake = tandem_wake_make()
        }

        deinit { Glibc.close(wake) }

        func close() {
            state.withLock { $0.isClosed = true }
            tandem_wake_up(wake)
        }

        func settle(_ tag: UInt64, isDone: Bool) {
            state.withLock { $0.settled.append((tag, isDone)) }
            tandem_wake_up(wake)
        }

        /// The messages: never more than the broker brings unacknowledged.
        func messages() -> AsyncStream<RabbitMQConnection.Message> {
            AsyncStream { continuation in
                Thread.detachNewThread {
                    do { try self.work { continuation.yield($0) } } catch {
                        self.logger.warning(
                            "RabbitMQ brings no messages now; it is tried again", metadata: ["rabbitmq.queue": "\(self.queue)", "tandem.reason": "\(error)"])
                    }
                    continuation.finish()
                }
            }
        }

        private func work(_ yield: (RabbitMQConnection.Message) -> Void) throws {
            let connection = try RabbitMQConnection(configuration, wake: wake)
            try connection.consume(queue, prefetch: prefetch)
            while true {
                let (settled, isClosed) = state.withLock { state in
                    defer { state.settled = [] }
                    return (state.settled, state.isClosed)
                }
                for message in settled { try connection.settle(message.tag, isDone: message.isDone) }
                if isClosed { return }
                for message in try connection.messages() { yield(message) }
            }
        }
    }
}
