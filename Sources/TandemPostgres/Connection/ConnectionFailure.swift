/// A batch that got no answer: the connection broke, was closed, or the caller stopped waiting.
package struct ConnectionFailure: Error, Sendable {
    package enum Kind: Sendable {
        /// The server or the network ended the connection.
        case lost
        /// The batch's deadline passed.
        case timedOut
        /// The caller's task was cancelled.
        case cancelled
        /// The connection had been closed before.
        case closed
        /// The statement is of a kind that a connection cannot run; it was closed, since the server waits in the middle of it.
        case refused
        /// A result is more than ``ResultLimit`` allows to hold. The connection is closed where the rest of it was still to come.
        case tooLarge
    }

    package let kind: Kind
    /// Whether the batch left this process. If not, it certainly had no effect; if so, nobody knows.
    package let wasSent: Bool
    /// What the server said last, when it ended the session with an error (57P01 and kin).
    package let serverError: ServerError?
    /// What libpq said.
    package let message: String
}
