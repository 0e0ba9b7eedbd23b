import Foundation
import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import TandemMessaging
import TandemPostgres
import TandemTestSupport
import TandemWebhook
import Testing

/// A service that keeps what it is told.
struct WebhookUnderTest: SinkUnderTest {
    private final class Service: Sendable {
        let events = Locked<[Event]>([])
        let isDown = Locked(false)
    }

    private let service: Service
    private let url: String
    let topic = uniqueName()
    let refusedTopic: String? = "closed"

    private init(_ service: Service, _ url: String) {
        self.service = service
        self.url = url
    }

    static func with(_ body: @escaping @Sendable (any SinkUnderTest) async throws -> Void) async throws {
        let service = Service(), router = Router()
        router.post("events") { request, _ -> Response in
            let body = try await request.body.collect(upTo: 4 << 20)
            if service.isDown.withLock({ $0 }) { return Response(status: .serviceUnavailable) }
            let event = event(request.headers, Array(body.readableBytesView))
            if event.topic == "closed" { return Response(status: .unprocessableContent) }
            service.events.withLock { $0.append(event) }
            return Response(status: .noContent)
        }
        let app = Application(router: router, configuration: .init(address: .hostname("127.0.0.1", port: 0)))
        try await app.test(.live) { client in
            try await body(WebhookUnderTest(service, "http://127.0.0.1:\(try #require(client.port))/events"))
        }
    }

    private static func event(_ fields: HTTPFields, _ body: [UInt8]) -> Event {
        func text(_ name: String) -> String? { HTTPField.Name(name).flatMap { fields[$0] }?.removingPercentEncoding }
        let prefix = "tandem-header-"
        let headers = fields.filter { $0.name.canonicalName.hasPrefix(prefix) }.map {
            Event.Header(String($0.name.canonicalName.dropFirst(prefix.count)), $0.value.removingPercentEncoding ?? "")
        }
        return Event(
            id: text("ce-id") ?? "", topic: text("ce-type") ?? "", key: text("ce-partitionkey"), headers: headers, contentType: fields[.contentType] ?? "",
            payload: body, time: text("ce-time") ?? "")
    }

    func sink() throws -> any Sink { try WebhookSink(WebhookConfiguration(url)) }

    func takeDown() { service.isDown.withLock { $0 = true } }

    func bringBack() { service.isDown.withLock { $0 = false } }

    func withoutAnswer(_ body: (any Sink, @escaping @Sendable () async throws -> Bool) async throws -> Void) async throws {
        try await withSilence(
            { port in
                var webhook = WebhookConfiguration("http://127.0.0.1:\(port)/events")
                webhook.timeout = .seconds(300)
                return try WebhookSink(webhook)
            }, body)
    }

    func arrived(atLeast count: Int) -> [Event] { service.events.withLock { $0 } }
}
