import CRDKafka
import Foundation
public import Logging
import Synchronization
import TandemCore

/// Takes messages from topics of Kafka, as one member of a group, and acknowledges each when its handler has returned.
///
/// A message whose handler throws is handled again after a wait, and those behind it wait, so that the order of a key is kept. One whose acknowledgement is lost comes again: a
/// handler receives it in the transaction of its effects.
///
/// ```swift
/// let consumer = try KafkaConsumer(kafka, topics: ["order.created"], group: "billing", logger: logger) { message in
///     guard let event = message.event else { return }
///     try await inbox.handle(event, by: "billing") { branch in
///         try await branch.execute("INSERT INTO invoice ...")
///     }
/// }
/// try await consumer.run()
/// ```
public struct KafkaConsumer: Sendable {
    /// What handles a message; it is acknowledged when this returns.
    public typealias Handler = @Sendable (_ message: KafkaMessage) async throws -> Void

    private let configuration: KafkaConfiguration
    private let topics: [String]
    private let group: String
    private let wait: Duration
    private let logger: Logger
    private let handler: Handler

    /// A consumer.
    ///
    /// - Parameters:
    ///   - configuration: the cluster; its topic does not matter here.
    ///   - topics: whose messages are wanted; one that begins with `^` is a regular expression.
    ///   - group: the group, whose members share the partitions. A group that is new begins with the oldest message.
    ///   - wait: how long after an error a message is handled again, and a cluster is tried again.
    ///   - logger: is told of handlers that fail and of brokers that cannot be reached.
    ///   - handler: what handles a message. Messages are handled one after the other.
    /// - Throws: `configurationInvalid` where librdkafka does not take a setting.
    public init(
        _ configuration: KafkaConfiguration, topics: [String], group: String, retryingAfter wait: Duration = .seconds(1), logger: Logger,
        handler: @escaping Handler
    ) throws {
        try KafkaClient.check(configuration, as: .consumer(group: group))
        self.configuration = configuration
        self.topics = topics
        self.group = group
        self.wait = wait
        self.logger = logger
        self.handler = handler
    }

    /// Handles messages until the task is cancelled; a cluster that is down is waited for.
    ///
    /// - Throws: nothing. Cancellation leaves the group, with what was handled acknowledged, and ends without an error.
    public func run() async throws {
        while !Task.isCancelled {
            let member = Member(configuration, topics, group, logger)
            await withTaskCancellationHandler {
                await handle(member)
            } onCancel: {
                member.close()
            }
            await member.end()
            do { try await Task.sleep(for: wait) } catch { return }
        }
    }

    /// Handles what a member of the group is brought, until it ends.
    private func handle(_ member: Member) async {
        for await batch in member.batches() {
            for message in batch {
                while !Task.isCancelled {
                    do {
                        try await handler(message)
                        member.settle(message)
                        break
                    } catch {
                        logger.warning(
                            "a message could not be handled; it is tried again",
                            metadata: [
                                "kafka.topic": "\(message.topic)", "kafka.partition": "\(message.partition)", "kafka.offset": "\(message.offset)",
                                "tandem.reason": "\(error)",
                            ])
                        try? await Task.sleep(for: wait)
                    }
                }
            }
            member.next()
        }
    }

    /// One membership, with a thread of its own.
    private final class Member: Sendable {
        private static let most = 64
        /// How long a batch may be handled before the brokers are told to bring nothing for now.
        private static let patience = Duration.seconds(1)
        /// How often a member whose batch takes long gives a sign of life, in milliseconds.
        private static let glance: Int32 = 1000

        private struct State {
            var settled: [KafkaMessage] = []
            /// A batch is being handled.
            var isBusy = false
            var isClosed = false
        }

        private let configuration: KafkaConfiguration
        private let topics: [String]
        private let group: String
        private let logger: Logger
        private let state = Mutex(State())
        private let wake: Int32
        private let ended: AsyncStream<Void>
        private let end: AsyncStream<Void>.Continuation

        init(_ configuration: KafkaConfiguration, _ topics: [String], _ group: String, _ logger: Logger) {
            self.configuration = configuration
            self.topics = topics
            self.group = group
            self.logger = logger
            wake = tandem_kafka_wake_make()
            (ended, end) = AsyncStream.makeStream()
        }

        deinit { Glibc.close(wake) }

        func close() { change { $0.isClosed = true } }

        func settle(_ message: KafkaMessage) { change { $0.settled.append(message) } }

        func next() { change { $0.isBusy = false } }

        private func change(_ body: (inout State) -> Void) {
            state.withLock { body(&$0) }
            tandem_kafka_wake_up(wake)
        }

        /// Waits until it has left the group.
        func end() async {
            // Nobody handles anything any more, whatever of the batch is left.
            change {
                $0.isBusy = false
                $0.isClosed = true
            }
            // Not with the task that is cancelled: it would not wait.
            let ended = ended
            await Task { for await _ in ended {} }.value
        }

        /// What is brought, one batch after the other.
        func batches() -> AsyncStream<[KafkaMessage]> {
            AsyncStream { continuation in
                Thread.detachNewThread {
                    do { try self.work { continuation.yield($0) } } catch {
                        self.logger.warning("Kafka brings no messages now; it is tried again", metadata: ["tandem.reason": "\(error)"])
                    }
                    continuation.finish()
                    self.end.finish()
                }
            }
        }

        private func work(_ yield: ([KafkaMessage]) -> Void) throws {
            let session = try KafkaSession(configuration, topics: topics, group: group)
            var early: [KafkaMessage] = [], begin = ContinuousClock.now, last = ""
            func report(_ text: String) {
                if text != last { logger.warning("Kafka says", metadata: ["tandem.reason": "\(text)"]) }
                last = text
            }
            while true {
                let (settled, isBusy, isClosed) = state.withLock { state in
                    defer { state.settled = [] }
                    return (state.settled, state.isBusy, state.isClosed)
                }
                for message in settled { session.store(message) }
                if isClosed && !isBusy { return }
                if isBusy {
                    // It stays a member as long as it asks: the brokers bring nothing, unless the partitions have just been shared out anew.
                    if ContinuousClock.now - begin >= Self.patience {
                        session.pause()
                        early += try session.messages(Self.most, report: report)
                    } else {
                        tandem_kafka_wake_wait(wake, Self.glance)
                    }
                    continue
                }
                session.resume()
                let batch = early.isEmpty ? try session.messages(Self.most, report: report) : early
                early = []
                if batch.isEmpty { continue }
                // Nobody would handle what comes after the end; it is not stored, and comes again.
                let isOpen = state.withLock { state in
                    if !state.isClosed { state.isBusy = true }
                    return !state.isClosed
                }
                guard isOpen else { continue }
                begin = .now
                yield(batch)
            }
        }
    }
}
