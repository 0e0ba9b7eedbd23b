import TandemCore

/// A saga that a worker runs: what its row says.
struct SagaRecord: Sendable {
    let id: SagaID
    let name: String
    /// The hash of its definition, in hexadecimal digits.
    let definition: String
    let isCode: Bool
    let input: String
    /// Which worker's writes count.
    let epoch: Int64
    /// As its row has it.
    let state: String
    /// Whether it has turned back.
    var isBack: Bool { state == "compensating" }
    /// Whether it is certain how it ends, and only something that belongs to the end is left to be done.
    var isSettled: Bool { state == SagaMachine.End.completed.rawValue || state == SagaMachine.End.compensated.rawValue }
    /// When it has to be ended, from when the row was read; `nil` for no limit.
    let timeLeft: Duration?
    /// Whether nobody has run it before.
    var isFresh: Bool { epoch == 1 }
}

/// What a saga is started with.
struct SagaStart: Sendable {
    let id: SagaID
    let name: String
    let definition: String
    let isCode: Bool
    let key: String?
    let input: String
    let deadline: Duration?
    /// The worker that runs it at once; `nil` leaves it to anybody.
    var owner: String?
}

/// How a saga ended, as its row keeps it.
struct SagaEnding: Sendable {
    let id: SagaID
    let epoch: Int64
    /// `completed`, `compensated`, `stuck_forward` or `stuck_compensation`.
    let state: String
    let output: String?
    let error: String?
    let course: String?
    var isEnd: Bool { state == SagaMachine.End.completed.rawValue || state == SagaMachine.End.compensated.rawValue }
}

/// One entry of a saga's journal.
struct JournalEntry: Sendable {
    enum What: String, Sendable {
        /// An attempt of a step has failed, or of what undoes it.
        case failed, undoFailed = "undo_failed"
        /// A request is about to be sent for the first time: from here on the step may have happened.
        case started
        /// A step that no database records is done, or undone.
        case done, undone
        /// The saga turns back; the output lists the steps that are done.
        case turnedBack = "turned_back"
        /// An operator.
        case retry, skip, resolve, cancel
        /// Something that a saga in code asked for once and keeps.
        case value
    }

    let what: What
    var step: String?
    var attempt: Int?
    var output: String?
    var error: String?
    var who: String?
    /// How long ago it was written, on the home node's clock.
    var age: Duration = .zero
}
