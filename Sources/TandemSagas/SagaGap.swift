public import TandemCore

/// What the home node and a step's node say differently of a saga: one of them has forgotten, as after a restore of an older backup.
public struct SagaGap: Sendable, Hashable, Codable {
    /// Who has forgotten.
    public enum Kind: String, Sendable, Hashable, Codable {
        /// Steps are recorded on the node, of a saga that the home node does not have.
        case sagaMissing = "saga_missing"
        /// The saga has ended with the step done, and its node has no record of that.
        case stepMissing = "step_missing"
        /// The saga has ended with the step undone, and on its node it is done and not undone.
        case undoMissing = "undo_missing"
    }

    /// The saga.
    public let saga: SagaID
    /// Who has forgotten.
    public let kind: Kind
    /// The step's node.
    public let node: NodeName
    /// The step.
    public let step: String
    /// What the node has recorded of the step: `done`, `undone`, `barred`, or nothing.
    public let recorded: String?
}
