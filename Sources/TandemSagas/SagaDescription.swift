public import TandemCore

/// Everything that is known about one saga: its row, its steps' records on their nodes, and its journal.
public struct SagaDescription: Sendable, Codable {
    /// One step.
    public struct Step: Sendable, Codable {
        /// The step's name.
        public let name: String
        /// Its nodes; none for a step that is no database's.
        public let nodes: [NodeName]
        /// `waiting`, `done`, `undone`, `barred`, or `unknown` where its node did not answer.
        public let state: String
        /// When it was done, as RFC 3339 in UTC, on its node's clock.
        public let doneAt: String?
        /// When it was undone.
        public let undoneAt: String?
        /// Its output, as JSON.
        public let output: String?
        /// How often it ran, and how often what undoes it did.
        public let attempts: Int
        /// See ``attempts``.
        public let undoAttempts: Int
        /// How long the last attempt took, in milliseconds; known once the saga has ended.
        public let milliseconds: Double?
        /// See ``milliseconds``.
        public let undoMilliseconds: Double?
        /// Why the last attempt failed, as JSON.
        public let error: String?
    }

    /// One entry of the journal.
    public struct Entry: Sendable, Codable {
        /// When, as RFC 3339 in UTC.
        public let at: String
        /// `failed`, `undo_failed`, `started`, `done`, `undone`, `turned_back`, `retry`, `skip`, `resolve`, `cancel`, `value`.
        public let what: String
        /// The step, where it is one's.
        public let step: String?
        /// Which attempt it was.
        public let attempt: Int?
        /// The error or the operator's reason, as JSON.
        public let detail: String?
        /// The operator's role.
        public let who: String?
    }

    /// How it stands.
    public let summary: SagaSummary
    /// What it was started with, as JSON.
    public let input: String
    /// Its steps in the order of the definition.
    public let steps: [Step]
    /// Its journal, the oldest entry first.
    public let journal: [Entry]
}
