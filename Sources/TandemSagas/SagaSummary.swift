import TandemCore

/// How a saga stands.
public struct SagaSummary: Sendable, Hashable, Codable {
    /// Where a saga is on its way.
    public enum State: String, Sendable, Hashable, Codable, CaseIterable {
        /// Its steps are run, or it waits for something.
        case running
        /// It undoes what was done.
        case compensating
        /// All steps are done.
        case completed
        /// All that was done is undone.
        case compensated
        /// Behind its pivot a step fails: an operator has to look.
        case stuckForward = "stuck_forward"
        /// A step cannot be undone: an operator has to look.
        case stuckCompensation = "stuck_compensation"

        /// Whether nothing more happens by itself.
        public var isAtRest: Bool {
            switch self {
            case .running, .compensating: false
            case .completed, .compensated, .stuckForward, .stuckCompensation: true
            }
        }
        /// Whether an operator has to look.
        public var isStuck: Bool { self == .stuckForward || self == .stuckCompensation }
    }

    /// The saga.
    public let id: SagaID
    /// The name of its definition.
    public let name: String
    /// The version of its definition.
    public let version: Int
    /// What the caller calls it.
    public let key: String?
    /// Where it is on its way.
    public let state: State
    /// What it waits for while nobody runs it.
    public let waitsFor: String?
    /// The worker that runs it.
    public let owner: String?
    /// When it was started, as RFC 3339 in UTC.
    public let startedAt: String
    /// When it ended.
    public let endedAt: String?
    /// The output of its last step, as JSON.
    public let output: String?
    /// Why it turned back or is stuck, as JSON: `code`, `message`, `node`, `sqlstate`.
    public let error: String?
}
