public import TandemCore

/// How far a sink is behind its source.
public struct OutboxLag: Sendable, Hashable, Codable {
    /// The source.
    public let node: NodeName
    /// The sink's name.
    public let sink: String
    /// Numbers that were taken and that the sink does not have yet.
    public let events: Int
    /// How long the first of them has waited, in seconds.
    public let seconds: Double
    /// Into how many shares its events are divided.
    public let shares: Int
    /// How many of these a relay has; of a table of another outbox that is not known: 0.
    public let led: Int
    /// Which relays have them; of a table `nil`.
    public let relay: String?
    /// Events that were refused and are tried again, with those that wait behind them.
    public let parked: Int
    /// Dead letters.
    public let dead: Int
}
