package import TandemCore
package import TandemPostgres

extension TandemError {
    /// A server's error, with the code that decides what a caller may do.
    package init(_ error: ServerError, node: NodeName, effect: Effect = .none, phase: String? = nil) {
        let (code, isRetrySafe): (Code, Bool) =
            switch error.sqlState {
            case .serializationFailure: (.serializationFailure, true)
            case .deadlockDetected: (.deadlock, true)
            case .lockNotAvailable: (.statementFailed, true)
            case .queryCanceled: (.deadlineExceeded, true)
            case .insufficientPrivilege: (.notPermitted, false)
            case .tooManyConnections: (.poolExhausted, true)
            case _ where error.isOfStalePlan: (.statementFailed, true)
            case _ where error.message.contains(PooledSettings.foreignServer): (.identityMismatch, false)
            default: error.isFatal ? (.connectionLost, true) : (.statementFailed, false)
            }
        let detail = [error.hint].compactMap { $0 }.joined()
        self.init(
            code, error.message, effect: effect, isRetrySafe: isRetrySafe, node: node, sqlState: error.sqlState, nextStep: detail,
            constraint: error.constraint, phase: phase)
    }

    /// A batch without an answer. The effect is the caller's to say: it knows what was sent.
    package init(_ failure: ConnectionFailure, node: NodeName, effect: Effect = .none, phase: String? = nil) {
        let code: Code =
            switch failure.kind {
            case .lost: .connectionLost
            case .timedOut: .deadlineExceeded
            case .cancelled, .closed: .connectionClosed
            case .refused: .statementRefused
            case .tooLarge: .tooManyRows
            }
        let said = failure.serverError.map { ": \($0.message)" } ?? ""
        let message =
            switch failure.kind {
            case .lost: "the connection was lost\(said.isEmpty ? ": \(failure.message)" : said)"
            case .timedOut: "no answer in time"
            case .cancelled: "cancelled"
            case .closed: "the connection is closed\(said)"
            case .refused: failure.message
            case .tooLarge: "the result has more than \(ResultLimit.rows) rows or \(ResultLimit.bytes >> 20) MiB"
            }
        let nextStep =
            switch failure.kind {
            case .timedOut: "look what the node waits for (pg_stat_activity), or allow more time"
            case .refused: "use copyIn or copyOut for COPY"
            case .tooLarge: "read it with stream, or add a LIMIT"
            case .lost, .cancelled, .closed: "check the node and run again"
            }
        self.init(
            code, message, effect: effect, isRetrySafe: failure.kind != .refused && failure.kind != .tooLarge, node: node,
            sqlState: failure.serverError?.sqlState, nextStep: nextStep,
            phase: phase)
    }
}
