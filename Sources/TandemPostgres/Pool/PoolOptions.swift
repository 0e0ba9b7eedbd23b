/// Bounds of the connections to one node.
public struct PoolOptions: Sendable, Equatable {
    /// Connections that are kept open when nobody needs them.
    public var minimum: Int
    /// Connections that may be open at a time, and so how many transactions can touch the node at a time.
    public var maximum: Int
    /// How long a connection above ``minimum`` stays open unused.
    public var idleTime: Duration

    /// Bounds of a pool.
    ///
    /// - Parameters:
    ///   - minimum: connections that are kept open; 0 by default.
    ///   - maximum: connections that may be open at a time; 16 by default, at least 1.
    ///   - idleTime: how long one above the minimum stays open unused; 5 minutes by default.
    public init(minimum: Int = 0, maximum: Int = 16, idleTime: Duration = .seconds(300)) {
        self.minimum = max(0, min(minimum, maximum))
        self.maximum = max(1, maximum)
        self.idleTime = idleTime
    }
}
