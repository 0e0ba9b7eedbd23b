import TandemCore

/// What came of one attempt to do or undo a step.
enum StepOutcome: Sendable {
    /// It has happened, now or before; with its output as JSON.
    case done(String)
    /// It can never happen: the record bars it.
    case barred
    /// It has not happened, as far as is known, and may be tried again; a service may say when.
    case retry(TandemError, after: Duration? = nil)
    /// It has not happened, and trying again would not help.
    case failed(TandemError)
}

extension TandemError {
    /// Whether it says nothing about the work, only about how to get there.
    var isOfConnection: Bool {
        switch code {
        case .nodeUnreachable, .connectionLost, .connectionClosed, .poolExhausted, .admissionTimeout, .deadlineExceeded, .preparedSlotsExhausted, .inDoubt,
            .notInitialised, .schemaMismatch, .identityMismatch, .authenticationFailed, .databaseMissing, .notPermitted:
            true
        default: false
        }
    }

    /// What it means for a step.
    ///
    /// - Parameters:
    ///   - retry: what the step's definition says of errors.
    ///   - isPersistent: whether everything is tried again.
    /// - Returns: whether the step has failed or is tried again.
    func outcome(_ retry: SagaDefinition.Retry, isPersistent: Bool) -> StepOutcome {
        if isPersistent { return .retry(self) }
        if let state = sqlState?.rawValue {
            func names(_ list: [String]) -> Bool { list.contains { state == $0 || ($0.count == 2 && state.hasPrefix($0)) } }
            if names(retry.failures) { return .failed(self) }
            if names(retry.errors) { return .retry(self) }
        }
        return isRetrySafe || isOfConnection ? .retry(self) : .failed(self)
    }

    /// As a journal keeps it.
    var json: String {
        var entries: [(String, JSON)] = [("code", .string(code.rawValue)), ("message", .string(message))]
        if let node { entries.append(("node", .string(node.rawValue))) }
        if let sqlState { entries.append(("sqlstate", .string(sqlState.rawValue))) }
        if let constraint { entries.append(("constraint", .string(constraint))) }
        return JSON.object(entries).text
    }
}
