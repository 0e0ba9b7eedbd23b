/// What stands between Tandem and a node, and decides which session a transaction runs in.
public enum Pooler: String, Sendable, Hashable, CaseIterable {
    /// Nothing: a connection is a session of its own. A pooler in session mode is the same, if it lets start-up options through.
    case none
    /// A pooler that lends a session for one transaction, such as PgBouncer with `pool_mode = transaction`. Nothing is set for the session then, and nothing
    /// prepared in it: settings travel with each transaction, statements have no names.
    case transaction
}
