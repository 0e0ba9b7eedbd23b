/// Somebody waits for somebody else, as one node sees it.
package struct WaitEdge: Hashable, Sendable {
    /// Who waits, or is waited for.
    package enum Vertex: Hashable, Sendable, Comparable {
        /// A global transaction, with all of its branches.
        case transaction(TransactionID)
        /// A session that is no branch of one, as far as anybody can tell.
        case session(node: NodeName, process: Int32, start: String)

        /// Transactions by age, then sessions.
        package static func < (one: Vertex, other: Vertex) -> Bool {
            switch (one, other) {
            case (.transaction(let one), .transaction(let other)): one < other
            case (.transaction, .session): true
            case (.session, .transaction): false
            case (.session(let node, let process, let start), .session(let otherNode, let otherProcess, let otherStart)):
                (node, process, start) < (otherNode, otherProcess, otherStart)
            }
        }
    }

    /// What is waited for.
    package enum Kind: Hashable, Sendable {
        /// A lock that somebody holds.
        case lock
        /// One's turn behind the first of those who wait for a row: he holds nothing but his place.
        case turn
        /// Something whose wait cannot be cancelled under a guard: a snapshot, or a session of whom nothing more is known.
        case other
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
    package let kind: Kind
    /// What the session runs, without its parameters.
    package let statement: String

    /// - Parameters:
    ///   - waiter: Who waits.
    ///   - blocker: For whom.
    ///   - node: Where.
    ///   - session: The session that waits there; none where this process makes it wait, and one of several blockers is enough to end that.
    ///   - blockingProcess: The blocking session's process; 0 for a prepared branch.
    ///   - kind: What is waited for.
    ///   - statement: What the session runs.
    package init(
        _ waiter: Vertex, for blocker: Vertex, on node: NodeName, session: Session?, blockingProcess: Int32 = 0, kind: Kind = .lock, statement: String = ""
    ) {
        self.waiter = waiter
        self.blocker = blocker
        self.node = node
        self.session = session
        self.blockingProcess = blockingProcess
        self.kind = kind
        self.statement = statement
    }
}
