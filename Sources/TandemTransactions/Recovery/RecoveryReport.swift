public import TandemCore

/// What one pass of recovery found and did.
public struct RecoveryReport: Sendable, Codable {
    /// What became of one prepared branch.
    public struct Branch: Sendable, Codable {
        /// The transaction.
        public let transaction: TransactionID
        /// The node.
        public let node: NodeName
        /// The name under which the server keeps the branch.
        public let gid: String
        /// `committed`, `rolled_back`, `too_young`, `undecided`, `held`, `lost`, `mixed`, `busy`, `unreachable` or `settled_elsewhere`;
        /// after a dry run `would_commit`, `would_roll_back`, `would_hold`, `too_young` or `undecided`.
        public let settlement: String
    }

    /// A node that could not be asked.
    public struct Unreachable: Sendable, Codable {
        /// The node.
        public let node: NodeName
        /// Why.
        public let reason: String
    }

    /// Every prepared branch of the cluster that was found.
    public internal(set) var branches: [Branch] = []
    /// The nodes that could not be asked; what is prepared there is still in doubt.
    public internal(set) var unreachable: [Unreachable] = []

    /// Branches that this pass committed or rolled back.
    public var settled: Int { branches.count { $0.settlement == "committed" || $0.settlement == "rolled_back" || $0.settlement == "settled_elsewhere" } }
    /// Branches that a dry run expects to be committed or rolled back.
    public var expected: Int { branches.count { $0.settlement == "would_commit" || $0.settlement == "would_roll_back" } }
    /// Branches that are still prepared.
    public var remaining: Int { branches.count - settled }
    /// Whether something needs a person: a branch that is lost, mixed or held.
    public var needsAttention: Bool { branches.contains { ["lost", "mixed", "held", "would_hold"].contains($0.settlement) } }
}
