import TandemCore

extension JSON {
    /// An error as data.
    static func error(_ error: TandemError) -> JSON {
        .object([
            ("code", .string(error.code.rawValue)), ("message", .string(error.message)), ("node", .string(orNull: error.node?.rawValue)),
            ("sqlState", .string(orNull: error.sqlState?.rawValue)), ("constraint", .string(orNull: error.constraint)),
            ("isRetrySafe", .bool(error.isRetrySafe)),
            ("nextStep", .string(error.advice)),
        ])
    }
}

extension TandemError {
    /// What to do now: what the place of the error says, else what its code says.
    var advice: String { nextStep.isEmpty ? code.entry?.whatToDo ?? "" : nextStep }
}
