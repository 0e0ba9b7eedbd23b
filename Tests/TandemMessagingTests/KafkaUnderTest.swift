import Logging
import TandemKafka
import TandemMessaging
import TandemPostgres
import TandemTestSupport

/// A Kafka cluster.
final class KafkaUnderTest: SinkUnderTest {
    private let broker: KafkaBroker
    let topic = uniqueName()
    let refusedTopic: String?

    init() throws {
        broker = try KafkaBroker()
        refusedTopic = broker.isMock ? "\(topic)-closed" : nil
        if let refusedTopic { broker.refuse(topic: refusedTopic, with: .notAllowed) }
    }

    private func kafka(_ address: String? = nil) -> KafkaConfiguration {
        var kafka = KafkaConfiguration(brokers: [address ?? broker.address])
        kafka.patience = address == nil ? .seconds(10) : .seconds(300)
        kafka.settings = ["session.timeout.ms": "6000", "heartbeat.interval.ms": "200"]
        return kafka
    }

    func sink() throws -> any Sink { try KafkaSink(kafka()) }

    var isOurs: Bool { broker.isMock }

    func takeDown() { broker.setDown(true) }

    func bringBack() { broker.setDown(false) }

    func withoutAnswer(_ body: (any Sink, @escaping @Sendable () async throws -> Bool) async throws -> Void) async throws {
        try await withSilence({ try KafkaSink(kafka("127.0.0.1:\($0)")) }, body)
    }

    func arrived(atLeast count: Int) async throws -> [Event] {
        let events = Locked<[Event]>([])
        let quiet = Logger(label: "tests", factory: { _ in SwiftLogNoOpLogHandler() })
        let consumer = try KafkaConsumer(kafka(), topics: [topic], group: "readers-\(topic)", logger: quiet) { message in
            if let event = message.event { events.withLock { $0.append(event) } }
        }
        try await running({ try await consumer.run() }) {
            try await wait(for: "\(count) messages", within: .seconds(60)) { Set(events.withLock { $0.map(\.id) }).count >= count }
        }
        return events.withLock { $0 }
    }
}
