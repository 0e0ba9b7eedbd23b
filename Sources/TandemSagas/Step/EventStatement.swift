import TandemCore
import TandemPostgres

/// The statement that publishes a step's event. The tables are those of the outbox; where the node has none, the server says so.
struct EventStatement: Sendable {
    private let topic: SagaTemplate
    private let key: SagaTemplate?
    private let payload: JSON
    private let headers: [(name: String, value: SagaTemplate)]

    init(_ event: SagaDefinition.Event) {
        topic = SagaTemplate(event.topic)
        key = event.key.map { SagaTemplate($0) }
        payload = (try? JSON(reading: event.payload)) ?? .null
        headers = event.headers.sorted { $0.key < $1.key }.map { ($0.key, SagaTemplate($0.value)) }
    }

    /// The statement with its values.
    func sql(_ scope: SagaScope) throws -> SQL {
        let headers = headers.isEmpty ? nil : JSON.object(try headers.map { ($0.name, .string(try $0.value.text(scope))) }).text
        // A key that is one value, and null, is none.
        let hasKey = if case .null? = try key?.value(scope) { false } else { true }
        return """
            SELECT tandem.publish(\(try topic.text(scope)), \(hasKey ? try key?.text(scope) : nil)::text, \(try payload.filled(scope).text)::json, headers => \(headers)::json)
            """
    }
}
