public import TandemCore

/// What a local node is doing right now.
public struct LocalNodeStatus: Sendable, Equatable {
    /// What a local server is doing.
    public enum State: String, Sendable, Codable {
        /// It accepts connections.
        case running
        /// It starts, recovers from a crash, or stops.
        case changing
        /// It is stopped with SIGSTOP: connections hang.
        case paused
        /// No process of it is left.
        case stopped
    }

    /// The node's name.
    public let name: NodeName
    /// What it is doing.
    public let state: State
    /// The process id of its postmaster, where there is one.
    public let processID: Int32?
}
