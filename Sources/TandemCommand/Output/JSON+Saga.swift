import TandemCore
import TandemSagas

extension JSON {
    private init(optional json: String?) { self = json.map { .raw($0) } ?? .null }

    /// How a saga stands; what is JSON in it stays that.
    init(_ saga: SagaSummary, _ more: [(String, JSON)] = []) {
        self = .object(
            [
                ("saga", .string(saga.id.description)), ("name", .string(saga.name)), ("version", .number(saga.version)), ("key", .string(orNull: saga.key)),
                ("state", .string(saga.state.rawValue)), ("waits_for", .string(orNull: saga.waitsFor)), ("owner", .string(orNull: saga.owner)),
                ("started_at", .string(saga.startedAt)), ("ended_at", .string(orNull: saga.endedAt)), ("output", JSON(optional: saga.output)),
                ("error", JSON(optional: saga.error)),
            ] + more)
    }

    /// Everything about a saga.
    init(_ saga: SagaDescription) {
        let steps = saga.steps.map { step in
            JSON.object([
                ("name", .string(step.name)), ("nodes", .array(step.nodes.map { .string($0.rawValue) })), ("state", .string(step.state)),
                ("attempts", .number(step.attempts)), ("undo_attempts", .number(step.undoAttempts)), ("done_at", .string(orNull: step.doneAt)),
                ("undone_at", .string(orNull: step.undoneAt)), ("milliseconds", step.milliseconds.map { .number(String($0)) } ?? .null),
                ("undo_milliseconds", step.undoMilliseconds.map { .number(String($0)) } ?? .null), ("output", JSON(optional: step.output)),
                ("error", JSON(optional: step.error)),
            ])
        }
        let journal = saga.journal.map { entry in
            JSON.object([
                ("at", .string(entry.at)), ("what", .string(entry.what)), ("step", .string(orNull: entry.step)),
                ("attempt", entry.attempt.map { .number($0) } ?? .null), ("who", .string(orNull: entry.who)), ("detail", JSON(optional: entry.detail)),
            ])
        }
        self = JSON(saga.summary, [("input", .raw(saga.input)), ("steps", .array(steps)), ("journal", .array(journal))])
    }
}
