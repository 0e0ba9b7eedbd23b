public import TandemCore

/// How the ring of an outbox stands: events are removed by emptying a part of it as a whole.
public struct OutboxRing: Sendable, Hashable, Codable {
    /// The node.
    public let node: NodeName
    /// Parts that are empty, of the seven beside the one that is written to; `nil` where another process is just looking.
    public let free: Int?
    /// Who keeps a part that should be empty: `sink NAME`, `pid N` or `gid GID`. Writers go on all the same, and the part that they write to grows.
    public let blockers: [String]
}
