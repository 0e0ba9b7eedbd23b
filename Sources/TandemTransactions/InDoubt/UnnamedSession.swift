import TandemCore

/// A session of Tandem in a transaction that it does not name: a branch that is one message begins without the mark.
///
/// The server's name for the transaction is not used again while the server runs, so a session that is seen twice has been in the same transaction
/// all the time.
struct UnnamedSession: Hashable, Sendable {
    let node: NodeName
    let virtualTransaction: String

    /// The sessions that were there at the first look and are still there at the last one.
    ///
    /// Who comes later is not in the transaction that is asked for: that one has begun before, or left a trace since.
    struct Watch {
        private var left: Set<UnnamedSession>?

        var mayBeOpen: Bool { left.map { !$0.isEmpty } ?? false }

        mutating func look(_ sessions: Set<UnnamedSession>) {
            left = left?.intersection(sessions) ?? sessions
        }
    }
}
