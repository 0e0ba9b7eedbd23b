public import TandemCore

/// The isolation level of each branch. Atomic commit is not atomic visibility: see docs/guarantees.md for what holds across nodes.
public enum Isolation: String, Sendable, Codable, CaseIterable {
    /// Each statement sees what was committed before it.
    case readCommitted = "read committed"
    /// Each branch sees one snapshot of its node.
    case repeatableRead = "repeatable read"
    /// Each branch is serializable on its node; a failure (40001) may be retried.
    case serializable = "serializable"

    var sql: String { rawValue.uppercased() }
}

/// When a committed transaction returns to its caller.
public enum Acknowledgement: String, Sendable, Codable, CaseIterable {
    /// As soon as the decision is durable. The other nodes show it a moment later.
    case decided
    /// When every node has answered that its branch is committed, or at the deadline; see ``Receipt/pending``.
    case applied
}

/// How a global transaction runs.
public struct TransactionOptions: Sendable {
    /// The caller's own id, a UUIDv7 from ``TandemCore/TransactionID``, so that a transaction that is sent twice cannot happen twice. By default
    /// each attempt gets a new one. A body whose id was used before ends with `duplicateTransaction` and rolled back; `Cluster.outcome(of:within:)` then
    /// tells what became of the first one. A transaction as data answers with that itself.
    public var id: TransactionID?
    /// The isolation level of every branch.
    public var isolation = Isolation.readCommitted
    /// Whether the branches refuse to write.
    public var isReadOnly = false
    /// The nodes that the body may touch; empty for all of them. Naming them lets more transactions run at a time.
    public var nodes: [NodeName] = []
    /// How long everything may take, waiting in line included.
    public var timeout: Duration = .seconds(30)
    /// When a committed transaction returns.
    public var acknowledgement = Acknowledgement.applied
    /// How often the body may run: more than once only after 40001, 40P01 and other failures that are safe to retry, and never in doubt.
    public var attempts = 1
    /// Whether the register gets a row of a transaction that touches one node only. A global transaction has no choice: its rows are its decision.
    package var isRecorded = true

    /// Options with their defaults.
    public init() {}

    /// The transaction's id: the caller's own, or a new one.
    func identity() throws(TandemError) -> TransactionID {
        guard let id else { return .fresh(isRecorded: isRecorded) }
        guard id.isRecorded else {
            throw TandemError(
                .configurationInvalid, "an id of version 8 stands for work that nobody records", nextStep: "use a UUID of version 7 (TransactionID.make)")
        }
        return id
    }
}

/// What a committed transaction leaves: it exists only if the decision is durable.
public struct Receipt<Value> {
    /// The transaction.
    public let transaction: TransactionID
    /// What the body returned.
    public let value: Value
    /// Nodes that had not confirmed their COMMIT PREPARED when this was returned. They will: `Cluster.run()`, any other process that runs it, or
    /// `tandem recover` finishes them.
    public let pending: [NodeName]
    /// Whether an earlier transaction of the same id is what committed: this one did nothing, and its value is empty.
    public let isRepeated: Bool

    init(transaction: TransactionID, value: Value, pending: [NodeName], isRepeated: Bool = false) {
        self.transaction = transaction
        self.value = value
        self.pending = pending
        self.isRepeated = isRepeated
    }
}

extension Receipt: Sendable where Value: Sendable {}
