public import TandemCore

/// A transaction that is committed on one of its nodes and not on another: a failover lost it there, or somebody finished a branch against the decision.
///
/// It cannot be mended by a rule: a person compares the data, and accepts it afterwards with `Cluster.accept(_:reason:)`.
public struct Contradiction: Sendable, Equatable, Codable {
    /// How a branch contradicts the others.
    public enum Kind: String, Sendable, Codable, CaseIterable {
        /// The branch has neither a row nor anything prepared.
        case lost
        /// The branch went the other way: it has a tombstone, or it committed while the others were rolled back.
        case mixed
    }

    /// The transaction.
    public let transaction: TransactionID
    /// How.
    public let kind: Kind
    /// A node where it is committed.
    public let committed: NodeName
    /// A node where it is not.
    public let missing: NodeName

    /// The same in words.
    public var reason: String { kind == .lost ? "\(missing) has neither a row nor a prepared branch" : "\(missing) has a tombstone" }

    private enum CodingKeys: String, CodingKey { case transaction, kind, committed, missing, reason }

    package init(transaction: TransactionID, kind: Kind, committed: NodeName, missing: NodeName) {
        self.transaction = transaction
        self.kind = kind
        self.committed = committed
        self.missing = missing
    }

    /// Reads one that was written by ``encode(to:)``.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        transaction = try container.decode(TransactionID.self, forKey: .transaction)
        kind = try container.decode(Kind.self, forKey: .kind)
        committed = try container.decode(NodeName.self, forKey: .committed)
        missing = try container.decode(NodeName.self, forKey: .missing)
    }

    /// Writes it, with the reason.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(transaction, forKey: .transaction)
        try container.encode(kind, forKey: .kind)
        try container.encode(committed, forKey: .committed)
        try container.encode(missing, forKey: .missing)
        try container.encode(reason, forKey: .reason)
    }
}
