/// What became of a global transaction, as far as anybody can know now.
///
/// There are three values to the very edge: a transaction in doubt is neither a success nor a failure, and code that folds it into a `Bool`
/// will some day pay twice or not at all.
public enum Outcome: String, Hashable, Sendable, Codable, CaseIterable {
    /// The decision is durable: every branch is committed or will be.
    case committed
    /// The transaction can never commit any more.
    case rolledBack = "rolled_back"
    /// The node that knows cannot be asked, or no longer knows: either of the other two may be true.
    case inDoubt = "in_doubt"
}
