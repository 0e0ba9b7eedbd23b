import Foundation
import Logging
import TandemCore
import TandemLocal
import TandemMessaging
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemRabbitMQ

@Suite("RabbitMQ", .serialized)
struct RabbitMQTests {
    private let server: LocalRabbitMQ
    private let quiet = Logger(label: "tests", factory: { _ in SwiftLogNoOpLogHandler() })

    init() async throws { server = try await LocalRabbitMQ.shared() }

    private func broker(on other: LocalRabbitMQ? = nil, _ change: (inout RabbitMQConfiguration) -> Void = { _ in }) -> RabbitMQConfiguration {
        var broker = RabbitMQConfiguration()
        broker.port = (other ?? server).port
        broker.patience = .seconds(20)
        change(&broker)
        return broker
    }

    /// The same broker by TLS.
    private func encrypted(on other: LocalRabbitMQ? = nil, _ change: (inout RabbitMQConfiguration) -> Void = { _ in }) throws -> RabbitMQConfiguration {
        let tls = try #require((other ?? server).tls)
        return broker {
            $0.host = "localhost"
            $0.port = tls.port
            $0.tls = .init(certificates: tls.certificate)
            change(&$0)
        }
    }

    private func deliveries(_ range: ClosedRange<Int>, topic: String, size: Int = 20) -> [Delivery] {
        range.map { number in
            let event = Event(
                id: "0198c0de-0000-7000-8000-\(String(1_000_000_000_000 + number).suffix(12))", topic: topic, key: "k\(number % 3)",
                headers: [.init("trace", "ä \(number)")], payload: Array("{\"n\":\(number),\"pad\":\"\(String(repeating: "x", count: size))\"}".utf8),
                time: "2026-01-01T00:00:00Z")
            return Delivery(event, from: "/test/n1", to: "test", at: .init(window: 1, sequence: Int64(number)))
        }
    }

    private func isDelivered(_ verdict: DeliveryVerdict) -> Bool { if case .delivered = verdict { true } else { false } }

    /// Reads a queue until it has had so many messages, each acknowledged.
    private func read(_ queue: String, _ count: Int, from broker: RabbitMQConfiguration? = nil) async throws -> [RabbitMQMessage] {
        let messages = Locked<[RabbitMQMessage]>([])
        let consumer = RabbitMQConsumer(broker ?? self.broker(), queue: queue, retryingAfter: .milliseconds(50), logger: quiet) { message in
            messages.withLock { $0.append(message) }
        }
        let work = Task { try await consumer.run() }
        defer { work.cancel() }
        try await wait(for: "\(count) messages of \(queue)") { messages.withLock { $0.count } >= count }
        work.cancel()
        try await work.value
        return messages.withLock { $0 }
    }

    @Test("events arrive confirmed, in order, with all that they have")
    func delivered() async throws {
        try server.declare("orders")
        let sink = RabbitMQSink(broker { $0.window = 100 }), sent = deliveries(1...1000, topic: "orders")
        let verdicts = try await sink.deliver(sent)
        #expect(verdicts.count == 1000 && verdicts.allSatisfy(isDelivered))
        let received = try await read("orders", 1000)
        #expect(received.map(\.event) == sent.map(\.event))
        #expect(received[0].attribute("source") == "/test/n1" && received[0].attribute("specversion") == "1.0")
        await sink.close()
    }

    @Test("one for which there is no queue is refused, and the others arrive")
    func unroutable() async throws {
        try server.declare("there")
        let sink = RabbitMQSink(broker())
        let verdicts = try await sink.deliver(deliveries(1...2, topic: "there") + deliveries(3...3, topic: "nowhere") + deliveries(4...4, topic: "there"))
        #expect(verdicts.map(isDelivered) == [true, true, false, true])
        guard case .refused(let error) = verdicts[2] else { throw TestFailure("it is not refused") }
        #expect(error.code == .eventRefused && error.message.contains("NO_ROUTE") && error.nextStep.hasPrefix("declare the queue nowhere"))
        #expect(try await read("there", 3).count == 3)
        await sink.close()
    }

    @Test("what a message cannot carry is refused alone, and those of its key wait", arguments: ["topic", "type", "name", "headers"])
    func unfit(_ part: String) async throws {
        let queue = "fit-\(part)"
        try server.declare(queue)
        let sink = RabbitMQSink(broker { $0.routing = .fixed(queue) })
        let long = String(repeating: "x", count: 300)
        var batch = deliveries(1...6, topic: "t")
        let good = batch[1].event
        let event = Event(
            id: good.id, topic: part == "topic" ? long : good.topic, key: good.key,
            headers: part == "name" ? [.init(long, "v")] : part == "headers" ? [.init("n", String(repeating: "x", count: 101_000))] : [],
            contentType: part == "type" ? long : good.contentType, payload: good.payload, time: good.time)
        batch[1] = Delivery(event, from: batch[1].source, to: batch[1].sink, at: batch[1].place)
        let verdicts = try await sink.deliver(batch)
        #expect(verdicts.map(isDelivered) == [true, false, true, true, false, true])
        if case .refused(let error) = verdicts[1] { #expect(error.code == .eventRefused) } else { Issue.record("it is not refused") }
        if case .held = verdicts[4] {} else { Issue.record("the one behind it does not wait") }
        #expect(try await read(queue, 4).count == 4)
        await sink.close()
    }

    @Test("a full queue, a missing exchange, a wrong password and a broker that is not there make the sink unavailable")
    func unavailable() async throws {
        try server.declare("small", most: 2)
        let full = RabbitMQSink(broker())
        let rejected = await refusal { try await full.deliver(deliveries(1...10, topic: "small")) }
        #expect(rejected?.code == .sinkUnavailable && rejected?.message.contains("rejected") == true)
        _ = try await read("small", 2)
        #expect(try await full.deliver(deliveries(11...11, topic: "small")).allSatisfy(isDelivered), "it goes on where there is room")
        await full.close()
        let missing = RabbitMQSink(broker { $0.exchange = "missing" })
        #expect(await refusal { try await missing.deliver(deliveries(1...1, topic: "a")) }?.message.contains("404") == true)
        await missing.close()
        let stranger = RabbitMQSink(broker { $0.password = "wrong" })
        let login = await refusal { try await stranger.deliver(deliveries(1...1, topic: "a")) }
        #expect(login?.message.contains("403") == true && "\(String(describing: login))".contains("wrong") == false)
        await stranger.close()
        let nobody = RabbitMQSink(broker { $0.port = 1 })
        #expect(await refusal { try await nobody.deliver(deliveries(1...1, topic: "a")) }?.code == .sinkUnavailable)
        await nobody.close()
    }

    @Test("what is confirmed survives the broker's crash; the sink connects again, by TLS as well", arguments: [false, true])
    func crash(isEncrypted: Bool) async throws {
        // Others are at the shared one.
        let server = try await LocalRabbitMQ.start(withTLS: isEncrypted), broker = isEncrypted ? try encrypted(on: server) : broker(on: server)
        try server.declare("durable")
        try await server.note()
        let sink = RabbitMQSink(broker)
        #expect(try await sink.deliver(deliveries(1...50, topic: "durable")).allSatisfy(isDelivered))
        server.kill()
        let lost = await refusal {
            // The end of the connection is noticed by whoever uses it.
            for number in 51...60 { _ = try await sink.deliver(deliveries(number...number, topic: "durable")) }
        }
        #expect(lost?.code == .sinkUnavailable)
        try await server.restart()
        #expect(try await sink.deliver(deliveries(61...70, topic: "durable")).allSatisfy(isDelivered))
        let received = Set(try await read("durable", 60, from: broker).compactMap(\.id))
        #expect(received.isSuperset(of: (deliveries(1...50, topic: "") + deliveries(61...70, topic: "")).map(\.event.id)))
        await sink.close()
    }

    @Test("a broker that reads nothing any more ends a delivery that is larger than a socket takes", .timeLimit(.minutes(3)))
    func frozen() async throws {
        let server = try await LocalRabbitMQ.start()
        defer { server.thaw() }
        try server.declare("frozen")
        let sink = RabbitMQSink(broker(on: server) { $0.patience = .seconds(5) })
        try await wait(for: "the broker to be there") { (try? await sink.deliver(deliveries(1...1, topic: "frozen")))?.allSatisfy(isDelivered) == true }
        server.freeze()
        #expect(await refusal { try await sink.deliver(deliveries(2...2, topic: "frozen", size: 32 << 20)) }?.code == .sinkUnavailable)
        server.thaw()
        try await wait(for: "the broker to be itself again") { (try? await sink.deliver(deliveries(3...3, topic: "frozen")))?.allSatisfy(isDelivered) == true }
        await sink.close()
    }

    @Test("by TLS events arrive in order, more of them than a socket takes at a time")
    func encrypted() async throws {
        try server.declare("encrypted")
        let sink = RabbitMQSink(try encrypted()), sent = deliveries(1...400, topic: "encrypted", size: 40_000)
        #expect(try await sink.deliver(sent).allSatisfy(isDelivered))
        let received = try await read("encrypted", 400, from: encrypted())
        #expect(received.map(\.event) == sent.map(\.event))
        await sink.close()
    }

    @Test("by TLS the broker has to show a certificate that is trusted and bears its name")
    func untrusted() async throws {
        let tls = try #require(server.tls)
        func failure(within patience: Duration = .seconds(20), _ change: (inout RabbitMQConfiguration) -> Void) async throws -> TandemError? {
            let sink = RabbitMQSink(
                try encrypted {
                    $0.patience = patience
                    change(&$0)
                })
            let error = await refusal { try await sink.deliver(deliveries(1...1, topic: "untrusted")) }
            await sink.close()
            return error
        }
        let stranger = try await failure { $0.tls = .init(certificates: tls.other) }
        #expect(
            stranger?.code == .sinkUnavailable && stranger?.message.contains("SSL peer cert verification failed") == true, "\(String(describing: stranger))")
        let name = try await failure { $0.host = "127.0.0.1" }
        #expect(name?.code == .sinkUnavailable && name?.message.contains("hostname") == true, "\(String(describing: name))")
        let missing = try await failure { $0.tls = .init(certificates: "/nowhere.pem") }
        #expect(missing?.code == .sinkUnavailable && missing?.message.contains("the certificates of /nowhere.pem") == true, "\(String(describing: missing))")
        // One side speaks TLS, the other does not: neither waits forever.
        #expect(try await failure(within: .seconds(3)) { $0.port = server.port }?.code == .sinkUnavailable)
        #expect(try await failure(within: .seconds(3)) { $0.tls = nil }?.code == .sinkUnavailable)
    }

    @Test("a message whose handler fails comes again; one that is acknowledged does not")
    func again() async throws {
        try server.declare("again")
        let sink = RabbitMQSink(broker())
        _ = try await sink.deliver(deliveries(1...3, topic: "again"))
        let seen = Locked<[String]>([]), failures = Locked(1)
        let consumer = RabbitMQConsumer(broker(), queue: "again", retryingAfter: .milliseconds(20), logger: quiet) { message in
            seen.withLock { $0.append(message.id ?? "") }
            let fails = failures.withLock { left in
                defer { left -= 1 }
                return left > 0
            }
            if fails { throw TestFailure("not now") }
        }
        let work = Task { try await consumer.run() }
        try await wait(for: "four calls") { seen.withLock { $0.count } >= 4 }
        // When the fifth is handled, the four are acknowledged.
        _ = try await sink.deliver(deliveries(4...4, topic: "again"))
        try await wait(for: "the fifth call") { seen.withLock { $0.count } >= 5 }
        work.cancel()
        try await work.value
        let all = seen.withLock { $0 }, ids = all.prefix(4)
        #expect(Set(ids).count == 3 && ids.filter { $0 == ids[0] }.count == 2)
        // None of them comes once more.
        #expect(all.count == 5 && all.last == deliveries(4...4, topic: "").first?.event.id.description)
        await sink.close()
    }

    @Test("a cancelled delivery ends soon, and the sink can be used again")
    func cancelled() async throws {
        try server.declare("cancelled")
        let sink = RabbitMQSink(broker()), batch = deliveries(1...5000, topic: "cancelled", size: 1000)
        let work = Task { try await sink.deliver(batch) }
        work.cancel()
        await #expect(throws: (any Error).self) { try await work.value }
        #expect(try await sink.deliver(deliveries(1...1, topic: "cancelled")).allSatisfy(isDelivered))
        await sink.close()
    }
}
