public import TandemMessaging

/// A message as a broker brings it.
public struct RabbitMQMessage: Sendable, Hashable {
    /// Its `message_id`: of what a relay has published, the event's.
    public let id: String?
    /// Its `type`: of what a relay has published, the topic.
    public let type: String?
    /// Its content type.
    public let contentType: String?
    /// The routing key that it was published with.
    public let routingKey: String
    /// Whether it may have been brought before.
    public let isRedelivered: Bool
    /// Its headers that are texts.
    public let headers: [Event.Header]
    /// Its body.
    public let payload: [UInt8]

    private static let prefix = "cloudEvents:"

    /// The value of a CloudEvent's attribute, such as `source` or `partitionkey`.
    ///
    /// - Parameter name: the attribute's name.
    /// - Returns: the value; `nil` where the message has none.
    public func attribute(_ name: String) -> String? { headers.first { $0.name == Self.prefix + name }?.value }

    /// The event that a relay has published; `nil` for a message of somebody else, without an id or a topic.
    public var event: Event? {
        guard let id, !id.isEmpty, let topic = type else { return nil }
        return Event(
            id: id, topic: topic, key: attribute("partitionkey"), headers: headers.filter { !$0.name.hasPrefix(Self.prefix) },
            contentType: contentType ?? "application/octet-stream", payload: payload, time: attribute("time") ?? "")
    }
}
