import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import Logging
import NIOCore
import TandemCluster
import TandemCore
import TandemInbox
import TandemKafka
import TandemLocal
import TandemMessaging
import TandemOutbox
import TandemPostgres
import TandemRabbitMQ
import TandemTestSupport
import TandemTransactions
import Testing

/// From the transaction on one node to the effect on another, by all ways that there are.
@Suite("Events by brokers, by requests and by inboxes")
struct EndToEndTests {
    private static let quiet = Logger(label: "tests", factory: { _ in SwiftLogNoOpLogHandler() })
    private static let ways = ["copies", "hook", "kafka", "rabbit"]

    /// The acknowledgement of a message is lost, after its effects are committed.
    private struct Lost: Error {}

    /// Handles a message as its consumer's program would: what it does is there once, however often the message comes.
    private static func handle(_ event: Event, _ inbox: Inbox, by consumer: String) async throws {
        let number = Int(String(decoding: event.payload, as: UTF8.self))
        try await inbox.handle(event, by: consumer) { branch in
            try await branch.execute("INSERT INTO effect (consumer, key, number) VALUES (\(consumer), \(event.key), \(number))")
        }
    }

    /// Runs consumers of all sinks, and gives the body what is written of them in a configuration.
    private func withConsumers(_ test: TestCluster, _ body: @escaping @Sendable (_ sinks: String) async throws -> Void) async throws {
        let inbox = Inbox(test.cluster, on: "n2"), rabbit = try await LocalRabbitMQ.shared(), kafka = try KafkaBroker(), queue = test.database
        try rabbit.declare(queue)
        var broker = RabbitMQConfiguration()
        broker.port = rabbit.port
        // One in ten comes again, as after a crash between the commit and the acknowledgement.
        let (rabbitCount, kafkaCount) = (Locked(0), Locked(0))
        @Sendable func acknowledge(_ count: Locked<Int>) throws {
            let number = count.withLock { count in
                count += 1
                return count
            }
            if number.isMultiple(of: 10) { throw Lost() }
        }
        let rabbits = RabbitMQConsumer(broker, queue: queue, retryingAfter: .milliseconds(50), logger: Self.quiet) { message in
            if let event = message.event { try await Self.handle(event, inbox, by: "rabbit") }
            try acknowledge(rabbitCount)
        }
        let kafkas = try KafkaConsumer(
            KafkaConfiguration(brokers: [kafka.address]), topics: [queue], group: queue, retryingAfter: .milliseconds(50), logger: Self.quiet
        ) { message in
            if let event = message.event { try await Self.handle(event, inbox, by: "kafka") }
            try acknowledge(kafkaCount)
        }
        var options = InboxConsumer.Options()
        options.poll = .milliseconds(20)
        let copies = InboxConsumer(test.cluster, on: "n2", queue: "copies", options: options) { message, branch in
            let number = Int(String(decoding: message.event.payload, as: UTF8.self))
            try await branch.execute("INSERT INTO effect (consumer, key, number) VALUES ('copies', \(message.event.key), \(number))")
        }
        let router = Router()
        router.post("events") { request, _ -> Response in
            func text(_ name: String) -> String? { HTTPField.Name(name).flatMap { request.headers[$0] } }
            let event = Event(
                id: text("ce-id") ?? "", topic: text("ce-type") ?? "", key: text("ce-partitionkey"),
                payload: Array((try await request.body.collect(upTo: 1 << 20)).readableBytesView), time: text("ce-time") ?? "")
            try await Self.handle(event, inbox, by: "hook")
            return Response(status: .noContent)
        }
        let app = Application(router: router, configuration: .init(address: .hostname("127.0.0.1", port: 0)))
        try await app.test(.live) { client in
            let port = try #require(client.port)
            let sinks = """
                    rabbit: {from: [n1], from_start: true, rabbitmq: {port: \(rabbit.port), queue: \(queue)}}
                    kafka: {from: [n1], from_start: true, kafka: {brokers: ["\(kafka.address.split(separator: ",").joined(separator: "\", \""))"], topic: \(queue)}}
                    hook: {from: [n1], from_start: true, webhook: {url: "http://127.0.0.1:\(port)/events"}}
                    copies: {from: [n1], from_start: true, postgres: {node: n2, queue: copies}}

                """
            try await running({ try await rabbits.run() }) {
                try await running({ try await kafkas.run() }) { try await running({ try await copies.run() }) { try await body(sinks) } }
            }
        }
    }

    @Test(
        """
        case 8: whatever a relay to RabbitMQ, Kafka, a webhook and an inbox was just handing over when it was killed, and whichever message was handled and not \
        acknowledged, each event takes effect once each, in the order of its key
        """
    )
    func killed() async throws {
        let kills = max(6, Soak.count(200)), each = 20
        try await withCluster(2, modules: [.outbox, .inbox]) { test in
            try await sql(
                try test.superuser("n2"), "CREATE TABLE effect (place serial, consumer text, key text, number int)",
                "GRANT ALL ON effect, effect_place_seq TO tandem")
            try await withConsumers(test) { sinks in
                try await test.withConfigurationFile("outbox:\n  lease: 1s\n  poll: 20ms\n  batch: 7\n  sinks:\n\(sinks)") { path in
                    let program = Program(name: "tandem", arguments: ["outbox", "run", "-c", path])
                    for kill in 0..<kills {
                        try await test.cluster["n1"].transaction { branch in
                            for number in (kill * each + 1)...((kill + 1) * each) {
                                try await branch.publish(topic: "order", key: "k\(number % 3)", payload: number)
                            }
                        }
                        var dying = program
                        // After the answer of a sink, and before anything is noted of it.
                        let passed = Int.random(in: 0...3)
                        dying.failpoints = "relay_after_delivery=\(passed == 0 ? "" : "\(passed)*off->")kill"
                        #expect(try await dying.run().isKilled, "kill \(kill)")
                    }
                    let last = try program.start()
                    defer { last.signal(SIGKILL) }
                    for way in Self.ways {
                        try await wait(for: "all effects of \(way)", within: .seconds(90)) {
                            try await test.count("n2", "effect WHERE consumer = '\(way)'") >= kills * each
                        }
                    }
                    last.signal(SIGTERM)
                    #expect(try await last.end() == .exited(0))
                }
            }
            for way in Self.ways {
                let effects = try await test.cluster["n2"].query(
                    "SELECT key, number FROM effect WHERE consumer = \(way) ORDER BY place", as: String.self, Int.self)
                #expect(effects.map(\.1).sorted() == Array(1...(kills * each)), "\(way)")
                for (key, numbers) in Dictionary(grouping: effects, by: { $0.0 }) { #expect(numbers.map(\.1) == numbers.map(\.1).sorted(), "\(way), \(key)") }
            }
        }
    }
}
