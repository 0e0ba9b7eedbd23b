import CRDKafka
import Foundation
public import TandemMessaging

/// Kafka as a sink, over librdkafka with an idempotent producer.
///
/// What it promises: `delivered` means that all replicas that are in sync have the message (`acks=all`); how many have to be is the topic's setting `min.insync.replicas`. Events of one
/// key go to one partition, the one that Java's client would choose, in their order. After a lost connection to the cluster, longer than `patience`, everything that was not confirmed
/// is sent again: duplicates, with the event's id in the header `ce_id`. A message that Kafka refuses, for its size or its topic, is refused alone: brokers
/// refuse messages by the batch, so theirs is sent again one by one, and what they had taken of it comes twice.
///
/// A message has the event's payload as its value, its key, its headers, and the attributes of a CloudEvent as headers `ce_NAME` with `content-type`: the binary form of the
/// [binding for Kafka](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/kafka-protocol-binding.md).
public final class KafkaSink: Sink {
    private let configuration: KafkaConfiguration
    private let thread = DeliveryThread()
    private let wake: Int32

    /// A sink. It connects when it has something to deliver.
    ///
    /// - Parameter configuration: the cluster, and where events go there.
    /// - Throws: `configurationInvalid` where librdkafka does not take a setting.
    public init(_ configuration: KafkaConfiguration) throws {
        try KafkaClient.check(configuration, as: .producer(isGapless: true))
        self.configuration = configuration
        wake = tandem_kafka_wake_make()
    }

    deinit { Glibc.close(wake) }

    /// Sends events and waits until the cluster has confirmed or refused each.
    ///
    /// - Parameter batch: the events.
    /// - Returns: a verdict for each: refused is one whose topic is not there or not ours to write to, or that is too large for it.
    /// - Throws: `sinkUnavailable` where the cluster confirms nothing in time, or the producer has failed. `CancellationError`: the producer is given up, and nobody
    ///   knows what of the batch was taken.
    public func deliver(_ batch: [Delivery]) async throws -> [DeliveryVerdict] {
        // Waiting for the cluster blocks, so it is the business of a thread.
        try await thread.deliver(batch) {
            Thread.detachNewThread { self.work() }
        } wake: { [wake] in
            tandem_kafka_wake_up(wake)
        }
    }

    /// Gives the producer up.
    public func close() async {
        thread.close { tandem_kafka_wake_up(wake) }
    }

    private func work() {
        var producer: KafkaProducer?
        while true {
            switch thread.next() {
            case .end: return
            case .deliver(let batch):
                let result = Result<[DeliveryVerdict], any Error> {
                    if thread.isCancelled { throw CancellationError() }
                    do {
                        let open = try producer ?? KafkaProducer(configuration, wake: wake)
                        producer = open
                        return try open.deliver(batch) { thread.isCancelled }
                    } catch is KafkaProducer.Gap {
                        producer = nil
                    }
                    // What was taken already comes twice, and nothing out of order.
                    return try KafkaProducer(configuration, wake: wake, isCareful: true).deliver(batch) { thread.isCancelled }
                }
                // After an error it is of no more use: what it has under way must not overtake what is sent again.
                if case .failure = result { producer = nil }
                thread.end(result)
            case .wait:
                if let producer { producer.idle() } else { tandem_kafka_wake_wait(wake, -1) }
            }
        }
    }
}
