public import TandemCore

/// What waits for a consumer.
public struct InboxLag: Sendable, Hashable, Codable {
    /// The most messages of a queue that are counted.
    public static let mostWaiting = 10_000

    /// The inbox's node.
    public let node: NodeName
    /// The consumer, or the queue.
    public let consumer: String
    /// Messages in its queue, up to ``mostWaiting``.
    public let waiting: Int
    /// How long ago the first of them was published, in seconds, by the clocks of its source and of this node.
    public let seconds: Double
    /// Dead letters.
    public let dead: Int
}
