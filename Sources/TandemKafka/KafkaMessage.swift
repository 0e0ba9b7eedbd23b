public import TandemMessaging

/// A message as Kafka brings it.
public struct KafkaMessage: Sendable, Hashable {
    /// Its topic.
    public let topic: String
    /// Its partition.
    public let partition: Int
    /// Its number in the partition.
    public let offset: Int64
    /// Its key.
    public let key: [UInt8]?
    /// Its headers, in their order.
    public let headers: [Event.Header]
    /// Its value; empty for a tombstone.
    public let payload: [UInt8]

    private static let prefix = "ce_"

    /// The value of a CloudEvent's attribute, such as `id` or `source`.
    ///
    /// - Parameter name: the attribute's name.
    /// - Returns: the value; `nil` where the message has none.
    public func attribute(_ name: String) -> String? { headers.last { $0.name == Self.prefix + name }?.value }

    /// The event that a relay has sent; `nil` for a message of somebody else, without an id or a type.
    public var event: Event? {
        guard let id = attribute("id"), !id.isEmpty, let topic = attribute("type") else { return nil }
        return Event(
            id: id, topic: topic, key: attribute("partitionkey"), headers: headers.filter { !$0.name.hasPrefix(Self.prefix) && $0.name != "content-type" },
            contentType: headers.last { $0.name == "content-type" }?.value ?? "application/octet-stream", payload: payload, time: attribute("time") ?? "")
    }
}
