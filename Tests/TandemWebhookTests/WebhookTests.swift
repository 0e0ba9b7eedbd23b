import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
import HummingbirdTesting
import NIOCore
import NIOSSL
import TandemConfiguration
import TandemCluster
import TandemCore
import TandemMessaging
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemWebhook

@Suite("Webhooks", .timeLimit(.minutes(2)))
struct WebhookTests {
    /// A request as a service got it.
    struct Call: Sendable {
        let fields: HTTPFields
        let body: [UInt8]

        func header(_ name: String) -> String? { HTTPField.Name(name).flatMap { fields[$0] } }

        /// The event's id.
        var id: String { header("Idempotency-Key") ?? "" }
    }

    /// What a service answers to a request, of which it has had so many before.
    typealias Answer = @Sendable (_ call: Call, _ before: Int) async throws -> Response

    /// A service that remembers its requests.
    final class Service: Sendable {
        let calls = Locked<[Call]>([])
        let answer: Answer

        init(_ answer: @escaping Answer) { self.answer = answer }

        var ids: [String] { calls.withLock { $0.map(\.id) } }

        func take(_ request: Request) async throws -> Response {
            let body = try await request.body.collect(upTo: 4 << 20)
            let call = Call(fields: request.headers, body: Array(body.readableBytesView))
            let before = calls.withLock { calls in
                defer { calls.append(call) }
                return calls.count
            }
            return try await answer(call, before)
        }
    }

    /// Runs a service on a port of its own; `body` gets it and its host and port.
    private func withService<Value: Sendable>(
        answering answer: @escaping Answer = { _, _ in Response(status: .ok) }, over server: HTTPServerBuilder = .http1(),
        _ body: @escaping @Sendable (Service, String) async throws -> Value
    ) async throws -> Value {
        let service = Service(answer), router = Router()
        router.post("events") { request, _ -> Response in try await service.take(request) }
        router.post("old") { _, _ -> Response in Response(status: .permanentRedirect, headers: [.location: "/events?token=hush"]) }
        let app = Application(router: router, server: server, configuration: .init(address: .hostname("127.0.0.1", port: 0)))
        return try await app.test(.live) { client in
            let port = try #require(client.port)
            return try await body(service, "127.0.0.1:\(port)")
        }
    }

    private func sink(_ url: String, _ change: (inout WebhookConfiguration) -> Void = { _ in }) throws -> WebhookSink {
        var configuration = WebhookConfiguration(url)
        change(&configuration)
        return try WebhookSink(configuration)
    }

    /// An event whose id tells its number.
    private func delivery(_ number: Int, key: String?, headers: [Event.Header] = [], contentType: String = Event.json) -> Delivery {
        let event = Event(
            id: id(number), topic: "order.created", key: key, headers: headers, contentType: contentType, payload: Array("{\"n\": \(number)}".utf8),
            time: "2026-01-01T00:00:00Z")
        return Delivery(event, from: "/test/n1", to: "test", at: .init(window: 1, sequence: Int64(number)))
    }

    private func id(_ number: Int) -> String { "0198c0de-0000-7000-8000-\(String(1_000_000_000_000 + number).suffix(12))" }

    private func ids(_ numbers: Int...) -> [String] { numbers.map(id) }

    private func words(_ verdicts: [DeliveryVerdict]) -> [String] {
        verdicts.map { verdict in
            switch verdict {
            case .delivered: "delivered"
            case .refused: "refused"
            case .held: "held"
            }
        }
    }

    // MARK: Requests

    @Test("in binary form the attributes are headers, and the payload is the body as it is")
    func binary() async throws {
        try await withService { service, place in
            let sink = try sink("http://\(place)/events") { $0.headers = [.init("Authorization", "Bearer hush"), .init("X-Tenant", "bank")] }
            let sent = delivery(1, key: "Euro € 😀", headers: [.init("trace", "100% \"sure\"")], contentType: "application/json; charset=utf-8")
            #expect(try await words(sink.deliver([sent])) == ["delivered"])
            let call = try #require(service.calls.withLock { $0.first })
            #expect(call.body == sent.event.payload)
            let expected = [
                "ce-specversion": "1.0", "ce-id": id(1), "ce-source": "/test/n1", "ce-type": "order.created", "ce-time": "2026-01-01T00:00:00Z",
                // The example of the specification.
                "ce-partitionkey": "Euro%20%E2%82%AC%20%F0%9F%98%80", "ce-sequence": "0000000000000000001-0000000000000000001",
                "content-type": "application/json; charset=utf-8", "idempotency-key": id(1), "authorization": "Bearer hush", "x-tenant": "bank",
                "tandem-header-trace": "100%25%20%22sure%22",
            ]
            for (name, value) in expected { #expect(call.header(name) == value, "\(name)") }
            #expect(call.header("ce-datacontenttype") == nil && call.header("webhook-signature") == nil)
            #expect(try await words(sink.deliver([delivery(2, key: nil)])) == ["delivered"])
            #expect(service.calls.withLock { $0.last }?.header("ce-partitionkey") == nil)
        }
    }

    @Test("in structured form the body is a CloudEvent, also of bytes that are no JSON")
    func structured() async throws {
        try await withService { service, place in
            let sink = try sink("http://\(place)/events") { $0.form = .structured }
            let sent = [delivery(1, key: "a", headers: [.init("no token", "a\r\nb")]), delivery(2, key: nil, contentType: "application/octet-stream")]
            for delivery in sent {
                #expect(try await words(sink.deliver([delivery])) == ["delivered"])
                let call = try #require(service.calls.withLock { $0.last })
                var bytes: [UInt8] = []
                CloudEvent.append(delivery, to: &bytes)
                #expect(call.body == bytes)
                #expect(call.header("content-type") == "application/cloudevents+json; charset=utf-8" && call.id == delivery.event.id)
                #expect(call.header("ce-id") == nil)
            }
        }
    }

    @Test("no header of an event replaces or adds one that means something")
    func injection() async throws {
        let names = [
            "Content-Type", "ce-id", "webhook-id", "Authorization", "Host", "Content-Length", "Idempotency-Key", "Transfer-Encoding", "X-Forwarded-For",
        ]
        let strange: [Event.Header] = [
            .init("crlf", "a\r\nX-Evil: 1"), .init("no token", "evil"), .init("evil\r\nX-Evil", "1"), .init("ü", "1"), .init("", "1"),
        ]
        let headers = names.map { Event.Header($0, "evil") } + strange
        try await withService { service, place in
            let secret = WebhookSignature.Secret(bytes: Array(repeating: 7, count: 32))
            let sink = try sink("http://\(place)/events") {
                $0.headers = [.init("Authorization", "Bearer hush")]
                $0.secrets = [secret]
            }
            #expect(try await words(sink.deliver([delivery(1, key: "k\r\nX-Evil: 1", headers: headers)])) == ["delivered"])
            let call = try #require(service.calls.withLock { $0.first })
            let own = [
                "content-type": Event.json, "ce-id": id(1), "webhook-id": id(1), "authorization": "Bearer hush", "idempotency-key": id(1),
                "content-length": "8", "ce-partitionkey": "k%0D%0AX-Evil:%201", "tandem-header-crlf": "a%0D%0AX-Evil:%201",
            ]
            for (name, value) in own { #expect(call.header(name) == value, "\(name)") }
            #expect(["x-evil", "transfer-encoding", "x-forwarded-for"].allSatisfy { call.header($0) == nil })
            let carried = call.fields.map { $0.name.canonicalName }.filter { $0.hasPrefix("tandem-header-") }
            #expect(Set(carried) == Set(names.map { "tandem-header-\($0.lowercased())" } + ["tandem-header-crlf"]))
        }
    }

    @Test("an event whose content type cannot be a header is refused, and not sent")
    func contentType() async throws {
        try await withService { service, place in
            let batch = [delivery(1, key: "a", contentType: "text/plain\r\nX-Evil: 1"), delivery(2, key: "a"), delivery(3, key: "b")]
            let sink = try sink("http://\(place)/events")
            #expect(try await words(sink.deliver(batch)) == ["refused", "held", "delivered"])
            #expect(service.ids == ids(3))
        }
    }

    @Test(
        "what no request can be made of is no configuration",
        arguments: [
            "", "shop.example", "ftp://shop.example/", "https:///path", "https://user:hush@shop.example/", "https://shop.example/a b", "https://shop.example/ä",
        ])
    func addresses(url: String) async throws {
        let error = await refusal { try WebhookSink(WebhookConfiguration(url)) }
        #expect(error?.code == .configurationInvalid && "\(String(describing: error))".contains("hush") == false)
    }

    @Test("a header that the sink writes itself, or that is none, is no configuration; nor is a number below one")
    func configurations() async throws {
        for name in ["ce-id", "Webhook-Signature", "Tandem-Header-a", "content-type", "Content-Length", "HOST", "Idempotency-Key", "Connection", "a b", ""] {
            let error = await refusal { try sink("https://shop.example") { $0.headers = [.init(name, "hush")] } }
            #expect(error?.code == .configurationInvalid, "\(name)")
        }
        let value = await refusal { try sink("https://shop.example") { $0.headers = [.init("Authorization", "hush\r\nX-Evil: 1")] } }
        #expect(value?.code == .configurationInvalid && "\(String(describing: value))".contains("hush") == false)
        let changes: [(inout WebhookConfiguration) -> Void] = [{ $0.concurrency = 0 }, { $0.timeout = .zero }, { $0.certificates = "/nonexistent" }]
        for change in changes {
            #expect(await refusal { try sink("https://shop.example", change) }?.code == .configurationInvalid)
        }
        _ = try sink("https://shop.example?mail=a@b") { $0.headers = [.init("Authorization", "Bearer a b")] }
        #expect("\(WebhookConfiguration("https://user:hush@shop.example/a?token=hush#hush"))" == "https://shop.example")
    }

    // MARK: Signatures

    /// The vector of the tests of standard-webhooks' libraries.
    private static let vector = (
        secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", id: "msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp: Int64(1_614_265_330),
        body: Array(#"{"test": 2432232314}"#.utf8), signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )

    @Test("a signature is that of Standard Webhooks, and only the right one is taken, for five minutes")
    func signature() throws {
        let vector = Self.vector, own = WebhookSignature([try .init(vector.secret)])
        #expect(own.sign(vector.body, id: vector.id, timestamp: vector.timestamp) == vector.signature)
        let bare = WebhookSignature([try .init(String(vector.secret.dropFirst(6)))])
        #expect(bare.sign(vector.body, id: vector.id, timestamp: vector.timestamp) == vector.signature)
        func isTaken(
            _ signature: String? = Self.vector.signature, id: String? = Self.vector.id, timestamp: String? = "\(Self.vector.timestamp)",
            body: [UInt8] = Self.vector.body, later: Int64 = 0
        ) -> Bool {
            own.verify(body, id: id, timestamp: timestamp, signature: signature, tolerance: .seconds(300), at: vector.timestamp + later)
        }
        let other = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc="
        #expect(isTaken() && isTaken("\(other) v1a,AAAA \(vector.signature)") && isTaken(later: 300) && isTaken(later: -300))
        let wrong: [String?] = [
            nil, "", other, "v1,", "v1,g0hM9SsE", "v2\(vector.signature.dropFirst(2))", String(vector.signature.dropFirst(3)), "v1,\u{E9}",
        ]
        for signature in wrong { #expect(!isTaken(signature), "\(signature ?? "none")") }
        #expect(!isTaken(id: nil) && !isTaken(id: "msg_other") && !isTaken(body: vector.body + [0x20]))
        let times: [String?] = [nil, "", "hello", "-1614265330", "1614265331", "1614265330.0"]
        for timestamp in times { #expect(!isTaken(timestamp: timestamp), "\(timestamp ?? "none")") }
        #expect(!isTaken(later: 301) && !isTaken(later: -301))
    }

    @Test("what is no base 64 is no secret, and a secret shows nowhere")
    func secrets() async throws {
        for text in ["", "whsec_", "whsec_hush!"] { #expect(await refusal { try WebhookSignature.Secret(text) }?.code == .configurationInvalid, "\(text)") }
        let secret = try WebhookSignature.Secret(Self.vector.secret)
        var shown = ""
        dump(secret, to: &shown)
        #expect("\(secret)" == "***" && !shown.contains("49"), "\(shown)")
    }

    @Test("a receiver with any of the secrets takes each request as it came, in both forms", arguments: [WebhookConfiguration.Form.binary, .structured])
    func signed(form: WebhookConfiguration.Form) async throws {
        let old = try WebhookSignature.Secret(Self.vector.secret), new = WebhookSignature.Secret(bytes: Array(1...32))
        try await withService { service, place in
            let sink = try sink("http://\(place)/events") {
                $0.form = form
                $0.secrets = [new, old]
            }
            #expect(try await words(sink.deliver([delivery(1, key: "a")])) == ["delivered"])
            let call = try #require(service.calls.withLock { $0.first })
            func isTaken(_ secret: WebhookSignature.Secret, _ body: [UInt8]) -> Bool {
                let (id, timestamp, text) = (call.header("webhook-id"), call.header("webhook-timestamp"), call.header("webhook-signature"))
                return WebhookSignature([secret]).verify(body, id: id, timestamp: timestamp, signature: text)
            }
            #expect(isTaken(old, call.body) && isTaken(new, call.body) && !isTaken(new, call.body + [0x20]))
            #expect(!isTaken(WebhookSignature.Secret(bytes: Array(2...33)), call.body))
            #expect(call.header("webhook-id") == id(1))
        }
    }

    // MARK: Order

    @Test("events of a key wait for the one before, and others overtake them")
    func order() async throws {
        let isOpen = Locked(false), course = Locked<[String]>([]), first = id(1), second = id(2)
        try await withService(answering: { call, _ in
            course.withLock { $0.append("begin \(call.id)") }
            if call.id == first { try await wait(for: "the others") { isOpen.withLock { $0 } } }
            course.withLock { $0.append("end \(call.id)") }
            return Response(status: .ok)
        }) { service, place in
            defer { isOpen.withLock { $0 = true } }
            var all = [delivery(1, key: "slow"), delivery(2, key: "slow")]
            all += (3...20).map { delivery($0, key: "k\($0 % 3)") }
            all += (21...30).map { delivery($0, key: nil) }
            let batch = all, sink = try sink("http://\(place)/events") { $0.concurrency = 4 }
            let work = Task { try await sink.deliver(batch) }
            try await wait(for: "the others") { course.withLock { $0.count } == 57 }
            #expect(!service.ids.contains(second))
            isOpen.withLock { $0 = true }
            let verdicts = try await work.value
            #expect(words(verdicts) == Array(repeating: "delivered", count: 30))
            #expect(service.ids.count == 30 && Set(service.ids).count == 30)
            let slow = course.withLock { $0.filter { $0.hasSuffix(first) || $0.hasSuffix(second) } }
            #expect(slow == ["begin \(first)", "end \(first)", "begin \(second)", "end \(second)"])
            for key in 0..<3 {
                let own = (3...20).filter { $0 % 3 == key }.map { id($0) }, steps = own.flatMap { ["begin \($0)", "end \($0)"] }
                #expect(course.withLock { $0.filter { steps.contains($0) } } == steps)
            }
        }
    }

    @Test("no more requests are under way than are allowed, and as many as are")
    func concurrency() async throws {
        let now = Locked(0), most = Locked(0), isOpen = Locked(false)
        try await withService(answering: { _, _ in
            let count = now.withLock { now in
                now += 1
                return now
            }
            defer { now.withLock { $0 -= 1 } }
            most.withLock { $0 = max($0, count) }
            try await wait(for: "three") { isOpen.withLock { $0 } }
            return Response(status: .ok)
        }) { service, place in
            defer { isOpen.withLock { $0 = true } }
            let sink = try sink("http://\(place)/events") { $0.concurrency = 3 }, batch = (1...60).map { delivery($0, key: $0 % 2 == 0 ? "k\($0)" : nil) }
            let work = Task { try await sink.deliver(batch) }
            try await wait(for: "three requests") { now.withLock { $0 } == 3 }
            isOpen.withLock { $0 = true }
            let verdicts = try await work.value
            #expect(verdicts.count == 60 && service.ids.count == 60)
            #expect(most.withLock { $0 } == 3)
        }
    }

    // MARK: Refusals

    @Test("a refused event holds those of its key, and no others", arguments: [400, 413, 422, 431, 451])
    func refused(status: Int) async throws {
        let bad = id(2)
        try await withService(answering: { call, _ in Response(status: .init(code: call.id == bad ? status : 201)) }) { service, place in
            let batch = [
                delivery(1, key: "a"), delivery(2, key: "a"), delivery(3, key: "a"), delivery(4, key: "b"), delivery(5, key: nil), delivery(6, key: "a"),
            ]
            let verdicts = try await sink("http://\(place)/events").deliver(batch)
            #expect(words(verdicts) == ["delivered", "refused", "held", "delivered", "delivered", "held"])
            guard case .refused(let error) = verdicts[1] else { throw TestFailure("it is not refused") }
            #expect(error.code == .eventRefused && error.message.contains("\(status)"))
            #expect(Set(service.ids) == Set(ids(1, 2, 4, 5)) && service.ids.count == 4)
        }
    }

    @Test("a status that is named refuses the event; unnamed, it stops the sink, and the error names the event")
    func named() async throws {
        let bad = id(1)
        try await withService(answering: { call, _ in Response(status: call.id == bad ? .internalServerError : .ok) }) { service, place in
            let batch = [delivery(1, key: "a"), delivery(2, key: "b")]
            let stopped = try sink("http://\(place)/events?token=hush") { $0.concurrency = 1 }
            let error = await refusal { try await stopped.deliver(batch) }
            #expect(error?.code == .sinkUnavailable && error?.message.contains("500 to the event \(bad)") == true)
            #expect(service.ids == ids(1) && error?.message.contains("http://\(place) ") == true)
            let tolerant = try sink("http://\(place)/events") { $0.refusals = [500] }
            #expect(try await words(tolerant.deliver(batch)) == ["refused", "delivered"])
        }
    }

    // MARK: Trouble

    @Test(
        "what says nothing of the event makes the whole sink wait, and sets nothing aside",
        arguments: [304, 401, 403, 404, 405, 408, 409, 410, 425, 429, 500, 503, 599])
    func trouble(status: Int) async throws {
        try await withService(answering: { _, _ in Response(status: .init(code: status)) }) { service, place in
            let sink = try sink("http://\(place)/events?token=hush") {
                $0.headers = [.init("Authorization", "Bearer hush")]
                $0.concurrency = 1
            }
            let error = await refusal { try await sink.deliver([delivery(1, key: "a"), delivery(2, key: "b")]) }
            #expect(error?.code == .sinkUnavailable && error?.message.contains("\(status)") == true)
            #expect("\(String(describing: error))".contains("hush") == false && error?.nextStep.isEmpty == false)
            #expect(service.ids == ids(1), "nothing new is begun")
        }
    }

    @Test("what was delivered before the trouble is not sent again with its batch; the next batch is not confused with it")
    func partly() async throws {
        let bad = id(3), failures = Locked(2)
        try await withService(answering: { call, _ in
            guard call.id == bad else { return Response(status: .ok) }
            let fails = failures.withLock { left in
                defer { left -= 1 }
                return left > 0
            }
            return Response(status: fails ? .serviceUnavailable : .ok)
        }) { service, place in
            let sink = try sink("http://\(place)/events") { $0.concurrency = 1 }, batch = [1, 2, 3, 4, 5].map { delivery($0, key: $0 < 5 ? "a" : nil) }
            for _ in 0..<2 { #expect(await refusal { try await sink.deliver(batch) }?.code == .sinkUnavailable) }
            #expect(try await words(sink.deliver(batch)) == Array(repeating: "delivered", count: 5))
            #expect(service.ids.sorted() == ids(1, 2, 3, 3, 3, 4, 5))
            #expect(service.ids.filter { $0 != id(5) } == ids(1, 2, 3, 3, 3, 4))
            // Sent again for another reason: after a lost lease, for instance.
            #expect(try await words(sink.deliver(batch)) == Array(repeating: "delivered", count: 5))
            #expect(service.ids.count == 12)
        }
    }

    @Test("an event that comes again under another place, as in a replay, is sent")
    func replayed() async throws {
        let bad = id(2), failures = Locked(1)
        try await withService(answering: { call, _ in
            let fails = failures.withLock { left in
                defer { if call.id == bad { left -= 1 } }
                return call.id == bad && left > 0
            }
            return Response(status: fails ? .serviceUnavailable : .ok)
        }) { service, place in
            let sink = try sink("http://\(place)/events"), batch = [delivery(1, key: "a"), delivery(2, key: "a")]
            #expect(await refusal { try await sink.deliver(batch) }?.code == .sinkUnavailable)
            let again = batch.map { Delivery($0.event, from: $0.source, to: $0.sink, at: .init(window: 9, sequence: $0.place.sequence)) }
            #expect(try await words(sink.deliver(again)) == ["delivered", "delivered"])
            #expect(service.ids == ids(1, 2, 1, 2))
        }
    }

    @Test("what is under way when the trouble comes is waited for")
    func underWay() async throws {
        let isOpen = Locked(false), slow = id(1), bad = id(2), failures = Locked(1)
        try await withService(answering: { call, _ in
            if call.id == slow { try await wait(for: "the trouble") { isOpen.withLock { $0 } } }
            let fails = failures.withLock { left in
                defer { if call.id == bad { left -= 1 } }
                return call.id == bad && left > 0
            }
            return Response(status: fails ? .serviceUnavailable : .ok)
        }) { service, place in
            defer { isOpen.withLock { $0 = true } }
            let sink = try sink("http://\(place)/events") { $0.concurrency = 2 },
                batch = [delivery(1, key: "a"), delivery(2, key: "b"), delivery(3, key: "c")]
            let work = Task { await refusal { try await sink.deliver(batch) } }
            try await wait(for: "the trouble") { failures.withLock { $0 } == 0 && service.ids.count == 2 }
            isOpen.withLock { $0 = true }
            #expect(await work.value?.code == .sinkUnavailable)
            #expect(try await words(sink.deliver(batch)) == ["delivered", "delivered", "delivered"])
            #expect(service.ids.sorted() == ids(1, 2, 2, 3))
        }
    }

    @Test("nothing is sent while the service wants a rest")
    func rest() async throws {
        try await withService(answering: { _, before in
            before == 0 ? Response(status: .tooManyRequests, headers: [.retryAfter: "1"]) : Response(status: .ok)
        }) { service, place in
            let sink = try sink("http://\(place)/events"), begin = ContinuousClock.now
            #expect(await refusal { try await sink.deliver([delivery(1, key: "a")]) }?.message.contains("429") == true)
            try await wait(for: "the end of the rest") {
                let before = service.ids.count
                guard let verdicts = try? await sink.deliver([delivery(1, key: "a")]) else {
                    #expect(service.ids.count == before)
                    return false
                }
                return words(verdicts) == ["delivered"]
            }
            #expect(ContinuousClock.now - begin >= .seconds(1) && service.ids.count == 2)
        }
    }

    @Test("a redirect is not followed, and the error says where it leads")
    func redirect() async throws {
        try await withService { service, place in
            let sink = try sink("http://\(place)/old")
            let error = await refusal { try await sink.deliver([delivery(1, key: "a")]) }
            #expect(
                error?.code == .sinkUnavailable && error?.message.contains("308") == true && error?.message.hasSuffix("names another path") == true,
                "\(String(describing: error))")
            #expect(service.ids.isEmpty)
        }
    }

    @Test("an answer that does not come in time stops the sink; one whose end does not come counts")
    func late() async throws {
        let isOpen = Locked(false), silent = id(1)
        try await withService(answering: { call, _ in
            if call.id == silent { try await wait(for: "the end") { isOpen.withLock { $0 } } }
            return Response(
                status: .ok,
                body: .init { writer in
                    try await writer.write(ByteBuffer(string: "a beginning"))
                    try await wait(for: "the end") { isOpen.withLock { $0 } }
                    try await writer.finish(nil)
                })
        }) { service, place in
            defer { isOpen.withLock { $0 = true } }
            let impatient = try sink("http://\(place)/events") { $0.timeout = .seconds(1) }
            let error = await refusal { try await impatient.deliver([delivery(1, key: "a")]) }
            #expect(error?.code == .sinkUnavailable && error?.message.contains("none within") == true, "\(String(describing: error))")
            // As long it waits for an end that does not come.
            let patient = try sink("http://\(place)/events") { $0.timeout = .seconds(10) }
            #expect(try await words(patient.deliver([delivery(2, key: "a")])) == ["delivered"])
            #expect(service.ids.contains(id(2)) && !isOpen.withLock { $0 })
        }
    }

    @Test("a long answer is not read to its end, and counts")
    func long() async throws {
        try await withService(answering: { _, _ in
            Response(status: .ok, body: .init(byteBuffer: ByteBuffer(repeating: 0x20, count: 1 << 20)))
        }) { service, place in
            let sink = try sink("http://\(place)/events")
            #expect(try await words(sink.deliver([delivery(1, key: "a"), delivery(2, key: "a")])) == ["delivered", "delivered"])
            #expect(service.ids == ids(1, 2))
        }
    }

    @Test("a service that is not there makes the sink unavailable at once")
    func absent() async throws {
        let sink = try sink("http://127.0.0.1:1/events?token=hush") { $0.timeout = .seconds(100) }
        let error = await refusal { try await sink.deliver([delivery(1, key: "a")]) }
        #expect(error?.code == .sinkUnavailable && error?.message.hasPrefix("http://127.0.0.1:1 gave no answer") == true)
        #expect(error?.message.contains("within") == false, "it waited for an answer")
        #expect("\(String(describing: error))".contains("hush") == false)
    }

    @Test("a cancelled delivery ends soon, and the sink can be used again")
    func cancelled() async throws {
        let isOpen = Locked(false), silent = id(1)
        try await withService(answering: { call, before in
            if call.id == silent && before == 0 { try await wait(for: "the end") { isOpen.withLock { $0 } } }
            return Response(status: .ok)
        }) { service, place in
            defer { isOpen.withLock { $0 = true } }
            let sink = try sink("http://\(place)/events") {
                $0.timeout = .seconds(1000)
                $0.concurrency = 1
            }
            let batch = [delivery(1, key: "a"), delivery(2, key: "b")], work = Task { try await sink.deliver(batch) }
            try await wait(for: "the request") { service.ids.count == 1 }
            work.cancel()
            await #expect(throws: CancellationError.self) { try await work.value }
            #expect(service.ids == ids(1) && !isOpen.withLock { $0 })
            #expect(try await words(sink.deliver(batch)) == ["delivered", "delivered"])
        }
    }

    // MARK: TLS and the configuration's file

    @Test("a service has to show a certificate that is known, of the system or of the file")
    func certificates() async throws {
        let pair = [Self.certificate, Self.key].map { Array($0.utf8) }
        let tls = TLSConfiguration.makeServerConfiguration(
            certificateChain: try NIOSSLCertificate.fromPEMBytes(pair[0]).map { .certificate($0) },
            privateKey: .privateKey(try NIOSSLPrivateKey(bytes: pair[1], format: .pem)))
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("tandem-webhook-\(UUID().uuidString).pem")
        try Data(pair[0]).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        let server: HTTPServerBuilder = try .tls(.http1(), tlsConfiguration: tls)
        try await withService(over: server) { service, place in
            let trusting = try sink("https://\(place)/events") { $0.certificates = file.path }
            #expect(try await words(trusting.deliver([delivery(1, key: "a")])) == ["delivered"])
            let error = await refusal { try await sink("https://\(place)/events").deliver([delivery(2, key: "a")]) }
            #expect(error?.code == .sinkUnavailable && service.ids == ids(1))
        }
    }

    /// Made for this test only: `openssl req -x509` for 127.0.0.1 and localhost, until 2123.
    private static let certificate = """
        -----BEGIN CERTIFICATE-----
        MIIBoTCCAUegAwIBAgIUTsGM9T688374r8hiyT3K0rljSKMwCgYIKoZIzj0EAwIw
        FzEVMBMGA1UEAwwMdGFuZGVtIHRlc3RzMCAXDTI0MDEwMTAwMDAwMFoYDzIxMjMx
        MjA4MDAwMDAwWjAXMRUwEwYDVQQDDAx0YW5kZW0gdGVzdHMwWTATBgcqhkjOPQIB
        BggqhkjOPQMBBwNCAAQAp+GcH5dfkJBj1GTTEUJ3ZH6/Z7ZQ8iaGqsN9zvK+taW0
        dEiTTNFxW522/HholwN3nA7fznmuDqvK511togXbo28wbTAdBgNVHQ4EFgQUh48i
        WAZHp8sx+62dgCFlS+LgzD0wHwYDVR0jBBgwFoAUh48iWAZHp8sx+62dgCFlS+Lg
        zD0wDwYDVR0TAQH/BAUwAwEB/zAaBgNVHREEEzARhwR/AAABgglsb2NhbGhvc3Qw
        CgYIKoZIzj0EAwIDSAAwRQIgIUu2vjMlZRmr1qyMzKA1DGrt6qq5FMeCQ+oWGHiV
        RjgCIQDFNkLoa9T8sgenzCaw+hDCrd2HiKL3DFZghxZL7fTsnw==
        -----END CERTIFICATE-----
        """

    private static let key = """
        -----BEGIN PRIVATE KEY-----
        MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgR/drR9Pe/kW+4e4h
        f7ECRKitIzNHjRhSYaFu3S6nmumhRANCAAQAp+GcH5dfkJBj1GTTEUJ3ZH6/Z7ZQ
        8iaGqsN9zvK+taW0dEiTTNFxW522/HholwN3nA7fznmuDqvK511togXb
        -----END PRIVATE KEY-----
        """

    @Test("the section of `tandem.yaml` says all of it, and a secret does not stand there")
    func section() async throws {
        func read(_ line: String) throws -> WebhookSection {
            let folder = FileManager.default.temporaryDirectory.appendingPathComponent("tandem-webhook-\(UUID().uuidString)")
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(at: folder) }
            let text = "cluster: c\nnodes: {n1: {conninfo: dbname=x}}\noutbox: {sinks: {shop: {webhook: \(line)}}}\n"
            try Data(text.utf8).write(to: folder.appendingPathComponent("tandem.yaml"))
            let environment = ["KEYS": "whsec_new whsec_old", "TOKEN": "Bearer hush"]
            let file = try ConfigurationFile(path: folder.appendingPathComponent("tandem.yaml").path, environment: environment)
            guard case .webhook(let section)? = file.outbox.sinks.first?.kind else { throw TestFailure("it is no webhook") }
            return section
        }
        let keys = "headers: {Authorization: {env: TOKEN}, X-Tenant: bank}, secretEnv: KEYS, timeout: 20s, concurrency: 16, refusals: [500]"
        let full = try read("{url: 'https://shop.example/a', form: structured, certificates: /ca.pem, \(keys)}")
        #expect(full.url == "https://shop.example/a" && full.form == .structured && full.certificates == "/ca.pem" && full.refusals == [500])
        #expect(full.secrets == [Secret("whsec_new"), Secret("whsec_old")] && full.timeout == .seconds(20) && full.concurrency == 16)
        #expect(full.headers.map(\.name) == ["Authorization", "X-Tenant"] && full.headers.map(\.value) == [Secret("Bearer hush"), Secret("bank")])
        let plain = try read("{url: 'http://shop.example'}")
        #expect(plain.form == .binary && plain.headers.isEmpty && plain.secrets.isEmpty && plain.timeout == nil && plain.concurrency == nil)
        for (line, problem) in [
            ("{}", "url"), ("{url: shop.example}", "no address"), ("{url: 'https://a', secret: whsec_hush}", "does not stand in this file"),
            ("{url: 'https://a', headers: {authorization: hush}}", "does not stand in this file"), ("{url: 'https://a', secretEnv: NONE}", "NONE is not set"),
            ("{url: 'https://a', refusals: [200]}", "out of bounds"), ("{url: 'http://a', certificates: b}", "without TLS"),
            ("{url: 'https://a', method: PUT}", "no key"),
        ] {
            let error = await refusal { try read(line) }
            #expect(error?.code == .configurationInvalid && error?.message.contains(problem) == true, "\(line)")
            #expect("\(String(describing: error))".contains("hush") == false)
        }
    }
}
