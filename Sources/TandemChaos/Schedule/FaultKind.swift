/// What a chaos run does to its nodes, its coordinators and the connections between them.
package enum FaultKind: String, CaseIterable, Sendable, Codable {
    /// All processes of a node end by SIGKILL; it is started again.
    case kill
    /// A node is stopped in order and started again.
    case restart
    /// All processes of a node stop by SIGSTOP, and go on.
    case pause
    /// A node and some of the coordinators do not hear each other.
    case partition
    /// All connections of a node are reset.
    case reset
    /// Answers of a node to votes, decisions and COMMIT PREPARED are lost, and their connections with them.
    case loss
    /// What is said to a node arrives late.
    case delay
    /// `pg_terminate_backend` for some of a node's sessions, whatever they do.
    case terminate
    /// `pg_cancel_backend` for some of a node's sessions, whatever they do.
    case cancel
    /// A coordinator ends by SIGKILL; another one takes its place.
    case coordinator
    /// A coordinator stops by SIGSTOP, for longer than the grace of recovery, and goes on.
    case suspend
    /// Recovery without any grace runs beside the coordinators.
    case recovery

    /// Whether it lasts, and ends with something being healed; the others are over when they have happened.
    var isLasting: Bool {
        switch self {
        case .kill, .pause, .partition, .loss, .delay, .coordinator, .suspend: true
        case .restart, .reset, .terminate, .cancel, .recovery: false
        }
    }

    /// Whether it concerns a node, and not a coordinator.
    var isOfNode: Bool {
        switch self {
        case .coordinator, .suspend, .recovery: false
        case .kill, .restart, .pause, .partition, .reset, .loss, .delay, .terminate, .cancel: true
        }
    }
}
