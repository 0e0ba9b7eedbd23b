/// Somebody waits for somebody else, as one node sees it.
package struct WaitEdge: Hashable, Sendable {
    /// Who waits, or is waited for.
    package enum Vertex: Hashable, Sendable {
        /// A global transaction, with all of its branches.
        case transaction(TransactionID)
        /// A session that is no branch of one, as far as anybody can tell.
        case session(node: NodeName, process: Int32, start: String)
    }

    /// The session that waits, by what tells it from every other one, and its wait from its other waits.
    package struct Session: Hashable, Sendable {
        package let process: Int32
        /// When the process began, as the server writes it.
        package let start: String
        package let application: String
        /// When the wait began, as the server writes it.
        package let waitStart: String

        package init(process: Int32, start: String, application: String, waitStart: String) {
            (self.process, self.start, self.application, self.waitStart) = (process, start, application, waitStart)
        }
    }

    package let waiter: Vertex
    package let blocker: Vertex
    package let node: NodeName
    /// The session that waits on the node; none where the wait is not the server's.
    package let session: Session?
    /// The blocking session's process; 0 for a prepared branch.
    package let blockingProcess: Int32
    /// What the session runs, without its parameters.
    package let statement: String

    /// - Parameters:
    ///   - waiter: Who waits.
    ///   - blocker: For whom.
    ///   - node: Where.
    ///   - session: The session that waits there; none where this process makes it wait, and one of several blockers is enough to end that.
    ///   - blockingProcess: The blocking session's process; 0 for a prepared branch.
    ///   - statement: What the session runs.
    package init(_ waiter: Vertex, for blocker: Vertex, on node: NodeName, session: Session?, blockingProcess: Int32 = 0, statement: String = "") {
        self.waiter = waiter
        self.blocker = blocker
        self.node = node
        self.session = session
        self.blockingProcess = blockingProcess
        self.statement = statement
    }
}
