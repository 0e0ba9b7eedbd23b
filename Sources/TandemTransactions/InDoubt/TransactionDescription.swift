public import TandemCore

/// What the nodes say about one transaction: its decision, and where each of its branches stands.
///
/// The nodes are asked at the same time, not at the same instant, so a transaction that is just being committed may show some branches before
/// and some after. What has an end here (`committed`, `rolled_back`) stays as it is.
public struct TransactionDescription: Sendable, Codable {
    /// One branch of the transaction.
    public struct Branch: Sendable, Codable {
        /// The node.
        public let node: NodeName
        /// The name under which the server keeps the branch, while it is prepared.
        public let gid: String?
        /// The node's row in the register: `W` (its branch committed), `A` (the tombstone: it never can), `none`, `forgotten` (too old to say) or
        /// `unreachable`.
        public let row: String
        /// `committed`, `rolled_back`, `prepared`, `unknown` or `unreachable`.
        public let state: String
        /// Seconds since the branch was prepared or its row was written, by the node's clock.
        public let ageSeconds: Double?
        /// Statements that wait for the branch's locks.
        public let blocked: Int
        /// The role that prepared the branch, and that alone (or a superuser) may finish it.
        public let owner: String?
    }

    /// The transaction.
    public let transaction: TransactionID
    /// The decision, as far as the register tells. In doubt also where its rows contradict each other, which only a forced outcome or a lost
    /// part of a node's log can bring about.
    public let outcome: Outcome
    /// Seconds since the transaction's id was made, by this machine's clock.
    public let ageSeconds: Double
    /// The node whose row is the decision, where a gid or a tombstone names it.
    public let commitPoint: NodeName?
    /// Who ran the transaction: host, process and a random part, where a committed branch tells.
    public let coordinator: String?
    /// The branches that are known, and the nodes that may have one and did not answer.
    public let branches: [Branch]

    /// Whether some branch is still prepared.
    public var isInDoubt: Bool { branches.contains { $0.state == "prepared" } }

    private enum CodingKeys: String, CodingKey {
        case transaction, outcome, isInDoubt, ageSeconds, commitPoint, coordinator, branches
    }

    init(transaction: TransactionID, outcome: Outcome, ageSeconds: Double, commitPoint: NodeName?, coordinator: String?, branches: [Branch]) {
        self.transaction = transaction
        self.outcome = outcome
        self.ageSeconds = ageSeconds
        self.commitPoint = commitPoint
        self.coordinator = coordinator
        self.branches = branches
    }

    /// Reads a description that was written by ``encode(to:)``.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        transaction = try container.decode(TransactionID.self, forKey: .transaction)
        outcome = try container.decode(Outcome.self, forKey: .outcome)
        ageSeconds = try container.decode(Double.self, forKey: .ageSeconds)
        commitPoint = try container.decodeIfPresent(NodeName.self, forKey: .commitPoint)
        coordinator = try container.decodeIfPresent(String.self, forKey: .coordinator)
        branches = try container.decode([Branch].self, forKey: .branches)
    }

    /// Writes the description, with ``isInDoubt`` beside what it is made of.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(transaction, forKey: .transaction)
        try container.encode(outcome, forKey: .outcome)
        try container.encode(isInDoubt, forKey: .isInDoubt)
        try container.encode(ageSeconds, forKey: .ageSeconds)
        try container.encodeIfPresent(commitPoint, forKey: .commitPoint)
        try container.encodeIfPresent(coordinator, forKey: .coordinator)
        try container.encode(branches, forKey: .branches)
    }
}
