import Foundation
import TandemMessaging

/// A kind of sink with what it delivers to: all of them go through the same tests.
protocol SinkUnderTest: Sendable {
    /// The topic of its events, which no other test has.
    var topic: String { get }

    /// A sink that delivers there.
    func sink() throws -> any Sink

    /// What has arrived so far, the events of each key in the order of their arrival, with what came twice.
    func arrived(atLeast count: Int) async throws -> [Event]

    /// A topic of which the receiver takes nothing; `nil` where the kind refuses no single event.
    var refusedTopic: String? { get }

    /// Whether the receiver is ours to disturb.
    var isOurs: Bool { get }

    /// Lets the receiver be gone.
    func takeDown() async throws

    /// Lets it come back, with what it had.
    func bringBack() async throws

    /// Lets a receiver of this kind take a delivery and answer nothing, while the body has a sink that delivers there. The body's second argument tells whether it was asked.
    func withoutAnswer(_ body: (any Sink, @escaping @Sendable () async throws -> Bool) async throws -> Void) async throws
}

extension SinkUnderTest {
    var refusedTopic: String? { nil }
    var isOurs: Bool { true }

    /// Gives the body a sink that is made for a port where nobody answers.
    func withSilence(_ sink: (Int) throws -> any Sink, _ body: (any Sink, @escaping @Sendable () async throws -> Bool) async throws -> Void) async throws {
        let server = try SilentServer()
        let sink = try sink(server.port)
        try await body(sink) { server.isAsked }
        await sink.close()
    }

    static func uniqueName() -> String { "t-\(UUID().uuidString.prefix(8).lowercased())" }
}

/// The kinds.
enum SinkKind: String, CaseIterable, Sendable {
    case inbox
    case kafka
    case lines
    case rabbitMQ
    case webhook

    /// Gives the body a sink of this kind, and what it delivers to.
    func with(_ body: @escaping @Sendable (any SinkUnderTest) async throws -> Void) async throws {
        switch self {
        case .inbox: try await InboxUnderTest.with(body)
        case .kafka: try await body(try KafkaUnderTest())
        case .lines: try await body(LinesUnderTest())
        case .rabbitMQ: try await body(try await RabbitMQUnderTest())
        case .webhook: try await WebhookUnderTest.with(body)
        }
    }
}
