import TandemCore

/// What the functions of the outbox refuse, by its name.
enum OutboxError {
    static func named(_ error: TandemError) -> TandemError {
        let code: TandemError.Code, next: String
        switch error.sqlState {
        case .eventTooLarge?: (code, next) = (.eventTooLarge, "store the data in a table or an object store, and publish a reference to it")
        case .outboxRestored?: (code, next) = (.outboxRestored, "`tandem outbox rebase` decides from where on events are sent")
        case .outboxForgotten?: (code, next) = (.notFound, "take a later time; `keep` of tandem.outbox_settings says for how long events stay")
        case .outboxSinkUnknown?: (code, next) = (.notFound, "`tandem outbox lag` lists the sinks")
        case .undefinedFunction?, .undefinedTable?: (code, next) = (.notInitialised, "run `tandem init`")
        default: return error
        }
        return TandemError(
            code, error.message, effect: error.effect, node: error.node, sqlState: error.sqlState, nextStep: next, phase: error.phase, cause: error)
    }
}
