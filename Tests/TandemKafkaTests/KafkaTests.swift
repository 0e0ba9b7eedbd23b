import Foundation
import Logging
import TandemCore
import TandemKafka
import TandemMessaging
import TandemPostgres
import TandemTestSupport
import Testing

@Suite("Kafka")
struct KafkaTests {
    private static let quiet = Logger(label: "tests", factory: { _ in SwiftLogNoOpLogHandler() })
    private let broker: KafkaBroker
    /// A topic of the test's own.
    private let topic = "t-\(UUID().uuidString.prefix(8).lowercased())"

    init() throws { broker = try KafkaBroker() }

    private func kafka(_ change: (inout KafkaConfiguration) -> Void = { _ in }) -> KafkaConfiguration {
        var kafka = KafkaConfiguration(brokers: [broker.address])
        // The mock waits for members that have left as long as for those that are gone.
        kafka.settings = ["session.timeout.ms": "6000", "heartbeat.interval.ms": "200"]
        change(&kafka)
        return kafka
    }

    private func deliveries(_ range: ClosedRange<Int>, topic: String? = nil, keys: Int = 3) -> [Delivery] {
        range.map { number in
            let event = Event(
                id: "0198c0de-0000-7000-8000-\(String(1_000_000_000_000 + number).suffix(12))", topic: topic ?? self.topic, key: "k\(number % keys)",
                headers: [.init("trace", "ä \(number)")], payload: Array("{\"n\":\(number)}".utf8), time: "2026-01-01T00:00:00Z")
            return Delivery(event, from: "/test/n1", to: "test", at: .init(window: 1, sequence: Int64(number)))
        }
    }

    private func isDelivered(_ verdict: DeliveryVerdict) -> Bool { if case .delivered = verdict { true } else { false } }

    /// Reads the test's topic as a group until it has had so many different messages.
    private func read(_ count: Int, group: String = "readers", topic: String? = nil, from kafka: KafkaConfiguration? = nil) async throws -> [KafkaMessage] {
        let messages = Locked<[KafkaMessage]>([])
        let consumer = try KafkaConsumer(
            kafka ?? self.kafka(), topics: [topic ?? self.topic], group: "\(group)-\(self.topic)", retryingAfter: .milliseconds(20), logger: Self.quiet
        ) { message in messages.withLock { $0.append(message) } }
        try await running({ try await consumer.run() }) {
            try await wait(for: "\(count) messages", within: .seconds(60)) { messages.withLock { Set($0.map { $0.attribute("id") }).count } >= count }
        }
        return messages.withLock { $0 }
    }

    /// The events of each key, in the order in which they came.
    private func byKey(_ events: [Event]) -> [String: [String]] { Dictionary(grouping: events) { $0.key ?? "" }.mapValues { $0.map(\.id) } }

    @Test("events arrive confirmed, each key's in order and in one partition, with all that they have")
    func delivered() async throws {
        let sink = try KafkaSink(kafka()), sent = deliveries(1...1000)
        let verdicts = try await sink.deliver(sent)
        #expect(verdicts.count == 1000 && verdicts.allSatisfy(isDelivered))
        let received = try await read(1000)
        #expect(byKey(received.compactMap(\.event)) == byKey(sent.map(\.event)))
        #expect(Set(received.compactMap(\.event)) == Set(sent.map(\.event)))
        for messages in Dictionary(grouping: received, by: { $0.event?.key ?? "" }).values { #expect(Set(messages.map(\.partition)).count == 1) }
        #expect(received[0].attribute("source") == "/test/n1" && received[0].attribute("specversion") == "1.0")
        #expect(received[0].key.map { String(decoding: $0, as: UTF8.self) } == received[0].event?.key)
        await sink.close()
    }

    @Test("a topic of one's own, and one for all")
    func topics() async throws {
        let sink = try KafkaSink(kafka { $0.topic = .fixed("\(topic)-all") })
        #expect(try await sink.deliver(deliveries(1...2, topic: "order.created")).allSatisfy(isDelivered))
        let received = try await read(2, topic: "\(topic)-all")
        #expect(received.allSatisfy { $0.topic == "\(topic)-all" && $0.event?.topic == "order.created" })
        await sink.close()
    }

    @Test("an event that is too large for the client is refused, those of its key behind it are not sent, and others arrive")
    func tooLarge() async throws {
        let sink = try KafkaSink(kafka { $0.settings["message.max.bytes"] = "2000" })
        var batch = deliveries(1...6, keys: 2)
        var large = batch[1].event
        large.payload = [UInt8](repeating: 120, count: 5000)
        batch[1] = Delivery(large, from: batch[1].source, to: batch[1].sink, at: batch[1].place)
        let verdicts = try await sink.deliver(batch)
        #expect(verdicts.map(isDelivered) == [true, false, true, false, true, false])
        guard case .refused(let error) = verdicts[1], case .held = verdicts[3], case .held = verdicts[5] else { throw TestFailure("\(verdicts)") }
        #expect(error.code == .eventRefused && error.message.contains("MSG_SIZE_TOO_LARGE"), "\(error)")
        #expect(Set(try await read(3).compactMap(\.event?.id)) == Set([0, 2, 4].map { batch[$0].event.id }))
        await sink.close()
    }

    @Test("what the brokers refuse in a batch is tried alone; only what is refused again is refused")
    func refusedInBatch() async throws {
        // A broker of somebody else is not ours to disturb.
        guard broker.isMock else { return }
        // Several batches of each partition under way.
        let sink = try KafkaSink(kafka { $0.settings["batch.num.messages"] = "3" }), batch = deliveries(1...60)
        _ = try await sink.deliver(deliveries(100...105))
        broker.refuse(1, with: .tooLarge)
        #expect(try await sink.deliver(batch).allSatisfy(isDelivered), "one was refused, none of it is too large")
        broker.refuse(topic: "\(topic)-closed", with: .notAllowed)
        let verdicts = try await sink.deliver(deliveries(61...61) + deliveries(62...62, topic: "\(topic)-closed") + deliveries(63...63))
        #expect(verdicts.map(isDelivered) == [true, false, true])
        guard case .refused(let error) = verdicts[1] else { throw TestFailure("it is not refused") }
        #expect(error.message.contains("TOPIC_AUTHORIZATION_FAILED"), "\(error)")
        var seen: Set<String> = []
        let received = try await read(68).compactMap(\.event).filter { seen.insert($0.id).inserted }
        // What was under way behind the refused batch a real broker refuses for its gap; the mock takes it.
        #expect(Set(received) == Set((deliveries(100...105) + batch + deliveries(61...61) + deliveries(63...63)).map(\.event)))
        await sink.close()
    }

    @Test("brokers that are gone make the sink unavailable; nothing is lost, and it goes on when they are back")
    func down() async throws {
        // A broker of somebody else is not ours to disturb.
        guard broker.isMock else { return }
        let sink = try KafkaSink(kafka { $0.patience = .seconds(10) })
        #expect(try await sink.deliver(deliveries(1...10)).allSatisfy(isDelivered))
        broker.setDown(true)
        let error = await refusal { try await sink.deliver(deliveries(11...20)) }
        #expect(error?.code == .sinkUnavailable, "\(String(describing: error))")
        broker.setDown(false)
        // As a relay does.
        var verdicts: [DeliveryVerdict] = []
        try await wait(for: "the brokers") {
            do { verdicts = try await sink.deliver(deliveries(11...20)) } catch { return false }
            return true
        }
        #expect(verdicts.allSatisfy(isDelivered))
        var seen: Set<String> = []
        let received = try await read(20).compactMap(\.event).filter { seen.insert($0.id).inserted }
        #expect(byKey(received) == byKey(deliveries(1...20).map(\.event)))
        await sink.close()
    }

    @Test("a producer that has failed for good is given up, and the next delivery makes another")
    func fatal() async throws {
        // A broker of somebody else is not ours to disturb.
        guard broker.isMock else { return }
        let sink = try KafkaSink(kafka())
        #expect(try await sink.deliver(deliveries(1...3)).allSatisfy(isDelivered))
        broker.refuse(1, with: .outOfOrder)
        let error = await refusal { try await sink.deliver(deliveries(4...6)) }
        #expect(error?.code == .sinkUnavailable, "\(String(describing: error))")
        #expect(try await sink.deliver(deliveries(4...6)).allSatisfy(isDelivered))
        var seen: Set<String> = []
        let received = try await read(6).compactMap(\.event).filter { seen.insert($0.id).inserted }
        #expect(byKey(received) == byKey(deliveries(1...6).map(\.event)))
        await sink.close()
    }

    @Test("a setting that is none, one without brokers and one that a promise rests on are refused at once")
    func settings() throws {
        for (name, value, part) in [
            ("no.such", "1", "no.such"), ("message.max.bytes", "soon", "message.max.bytes"), ("acks", "0", "acks"), ("enable.idempotence", "false", "promise"),
            ("delivery.report.only.error", "true", "promise"),
        ] {
            let error = #expect(throws: TandemError.self) { _ = try KafkaSink(kafka { $0.settings[name] = value }) }
            #expect(error?.code == .configurationInvalid)
            #expect(error?.message.contains(part) == true, "\(error?.message ?? "")")
        }
        #expect(throws: TandemError.self) { _ = try KafkaSink(KafkaConfiguration(brokers: [])) }
    }

    @Test("by TLS events arrive, and only a trusted certificate of the broker's name will do", .enabled(if: KafkaBroker.encrypted != nil))
    func encrypted() async throws {
        let encrypted = try #require(KafkaBroker.encrypted)
        func kafka(_ change: (inout KafkaConfiguration) -> Void = { _ in }) -> KafkaConfiguration {
            self.kafka {
                $0.brokers = [encrypted.address]
                $0.patience = .seconds(5)
                $0.settings["security.protocol"] = "SSL"
                $0.settings["ssl.ca.location"] = encrypted.certificate
                change(&$0)
            }
        }
        let sink = try KafkaSink(kafka { $0.patience = .seconds(30) }), sent = deliveries(1...1000)
        #expect(try await sink.deliver(sent).allSatisfy(isDelivered))
        #expect(Set(try await read(1000, from: kafka()).compactMap(\.event)) == Set(sent.map(\.event)))
        await sink.close()
        for change: (inout KafkaConfiguration) -> Void in [
            { $0.settings["ssl.ca.location"] = nil },
            { $0.brokers = [encrypted.address.replacing("localhost", with: "127.0.0.1")] },
            { $0.settings["security.protocol"] = nil },
        ] {
            let sink = try KafkaSink(kafka(change))
            #expect(await refusal { try await sink.deliver(deliveries(1...1)) }?.code == .sinkUnavailable)
            await sink.close()
        }
    }

    @Test("a broker that does not know the user makes the sink unavailable, by every mechanism", .enabled(if: KafkaBroker.authenticating != nil))
    func user() async throws {
        let address = try #require(KafkaBroker.authenticating)
        for mechanism in ["SCRAM-SHA-256", "SCRAM-SHA-512", "PLAIN"] {
            let sink = try KafkaSink(
                kafka {
                    $0.brokers = [address]
                    $0.patience = .seconds(5)
                    $0.settings["security.protocol"] = "SASL_PLAINTEXT"
                    $0.settings["sasl.mechanism"] = mechanism
                    $0.settings["sasl.username"] = "tandem"
                    $0.settings["sasl.password"] = "hidden"
                })
            let error = await refusal { try await sink.deliver(deliveries(1...1)) }
            #expect(error?.code == .sinkUnavailable && error?.message.contains("SASL") == true, "\(String(describing: error))")
            #expect("\(String(describing: error))".contains("hidden") == false)
            await sink.close()
        }
    }

    @Test("a message whose handler fails is handled again, before those behind it")
    func again() async throws {
        let sink = try KafkaSink(kafka())
        _ = try await sink.deliver(deliveries(1...6, keys: 1))
        let seen = Locked<[String]>([])
        let consumer = try KafkaConsumer(kafka(), topics: [topic], group: "again-\(topic)", retryingAfter: .milliseconds(20), logger: Self.quiet) { message in
            let fails = seen.withLock { seen in
                seen.append(message.attribute("id") ?? "")
                return seen.count == 3
            }
            if fails { throw TestFailure("not now") }
        }
        try await running({ try await consumer.run() }) {
            try await wait(for: "seven calls", within: .seconds(60)) { seen.withLock { $0.count } >= 7 }
        }
        let ids = deliveries(1...6, keys: 1).map(\.event.id)
        #expect(seen.withLock { $0 } == [ids[0], ids[1], ids[2], ids[2], ids[3], ids[4], ids[5]])
        await sink.close()
    }

    @Test("what a consumer that ends in the middle has not handled is brought to the next one")
    func ended() async throws {
        let sink = try KafkaSink(kafka())
        _ = try await sink.deliver(deliveries(1...40, keys: 1))
        let seen = Locked<[String]>([])
        func consumer(_ most: Int) throws -> KafkaConsumer {
            try KafkaConsumer(kafka(), topics: [topic], group: "ended-\(topic)", retryingAfter: .milliseconds(20), logger: Self.quiet) { message in
                let isOver = seen.withLock { seen in
                    if seen.count >= most { return true }
                    seen.append(message.attribute("id") ?? "")
                    return false
                }
                if isOver { throw CancellationError() }
            }
        }
        let first = try consumer(15), second = try consumer(40)
        try await running({ try await first.run() }) {
            try await wait(for: "the first one's", within: .seconds(60)) { seen.withLock { $0.count } == 15 }
        }
        try await running({ try await second.run() }) {
            try await wait(for: "the rest", within: .seconds(60)) { seen.withLock { $0.count } == 40 }
        }
        #expect(seen.withLock { $0 } == deliveries(1...40, keys: 1).map(\.event.id))
        await sink.close()
    }
}
