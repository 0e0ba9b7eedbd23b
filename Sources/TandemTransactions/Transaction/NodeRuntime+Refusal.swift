import TandemCluster
import TandemCore
import TandemPostgres

extension NodeRuntime {
    /// Refuses what would change a session that a pooler lends to others next.
    ///
    /// - Parameter text: A statement of the caller's.
    /// - Throws: `statementRefused`.
    func refuseSessionChange(in text: String) throws {
        guard isPooled, let change = sessionChange(of: text) else { return }
        throw TandemError(
            .statementRefused, "\(change) would change a session that the pooler lends to others", effect: .none, node: name,
            nextStep: "use what ends with the transaction (SET LOCAL, ON COMMIT DROP), or connect to the server itself")
    }
}
