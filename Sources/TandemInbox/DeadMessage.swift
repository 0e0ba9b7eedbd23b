public import TandemCore

/// A message that a consumer has given up.
public struct DeadMessage: Sendable, Hashable, Codable {
    /// The inbox's node.
    public let node: NodeName
    /// The consumer, or the queue.
    public let consumer: String
    /// The message.
    public let id: String
    /// `failed`, or `too_old`.
    public let reason: String
    /// How often it was tried.
    public let attempts: Int
    /// Why it failed.
    public let error: String?
    /// Where it came from.
    public let source: String?
    /// Its topic.
    public let topic: String?
    /// Its key.
    public let key: String?
    /// When it was given up, as RFC 3339 in UTC.
    public let at: String
}
