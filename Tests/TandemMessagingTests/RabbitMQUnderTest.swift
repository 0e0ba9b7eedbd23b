import Logging
import TandemLocal
import TandemMessaging
import TandemPostgres
import TandemRabbitMQ
import TandemTestSupport

/// An exchange of RabbitMQ, with a queue behind it.
final class RabbitMQUnderTest: SinkUnderTest {
    private let server: LocalRabbitMQ
    let topic = uniqueName()
    /// Nothing is bound for it.
    let refusedTopic: String?

    init() async throws {
        server = try await LocalRabbitMQ.shared()
        refusedTopic = "\(topic)-nowhere"
        try server.declare(topic)
        try bringBack()
    }

    private func broker() -> RabbitMQConfiguration {
        var broker = RabbitMQConfiguration()
        broker.port = server.port
        return broker
    }

    func sink() -> any Sink {
        var broker = broker()
        broker.exchange = topic
        return RabbitMQSink(broker)
    }

    func takeDown() throws { try server.delete(exchange: topic) }

    func bringBack() throws { try server.declare(exchange: topic, into: topic, for: topic) }

    func withoutAnswer(_ body: (any Sink, @escaping @Sendable () async throws -> Bool) async throws -> Void) async throws {
        var broker = broker()
        broker.exchange = topic
        broker.patience = .seconds(300)
        try await withSilence(
            { port in
                broker.port = port
                return RabbitMQSink(broker)
            }, body)
    }

    func arrived(atLeast count: Int) async throws -> [Event] {
        let events = Locked<[Event]>([])
        let quiet = Logger(label: "tests", factory: { _ in SwiftLogNoOpLogHandler() })
        let consumer = RabbitMQConsumer(broker(), queue: topic, logger: quiet) { message in
            if let event = message.event { events.withLock { $0.append(event) } }
        }
        try await running({ try await consumer.run() }) {
            try await wait(for: "\(count) messages") { Set(events.withLock { $0.map(\.id) }).count >= count }
        }
        return events.withLock { $0 }
    }
}
