public import TandemCore

/// An event that a sink has refused, or that waits behind one of its key.
public struct ParkedEvent: Sendable, Hashable, Codable {
    /// Whether its key waits for it.
    public enum State: String, Sendable, Hashable, Codable {
        /// It is tried again, and later events of its key wait.
        case parked
        /// It was given up, and its key flows.
        case dead
    }

    /// The source.
    public let node: NodeName
    /// The sink's name.
    public let sink: String
    /// The event.
    public let id: String
    /// Its topic.
    public let topic: String
    /// Its key.
    public let key: String?
    /// Whether its key waits for it.
    public let state: State
    /// How often it was tried since it was set aside.
    public let attempts: Int
    /// Why the sink refuses it; `nil` for one that waits behind another.
    public let error: String?
    /// When it was published, as RFC 3339 in UTC.
    public let publishedAt: String
    /// When it is tried again; `nil` for not before an operator wants it.
    public let dueAt: String?
}
