import TandemCore
import Tracing

/// One attempt of a transaction as metrics and traces see it. It costs nothing where nobody listens.
struct TransactionWatch {
    private let telemetry: Telemetry
    private let start: ContinuousClock.Instant?
    private let span: (any Span)?

    init(_ telemetry: Telemetry, _ transaction: TransactionID) {
        self.telemetry = telemetry
        start = telemetry.isMeasured ? .now : nil
        span = telemetry.span(Telemetry.transactionSpan, transaction)
    }

    /// Runs what belongs to the transaction: spans that it starts are children of the transaction's.
    nonisolated(nonsending) func within<R>(_ body: nonisolated(nonsending) () async throws -> R) async throws -> R {
        guard let span else { return try await body() }
        return try await ServiceContext.$current.withValue(span.context) { try await body() }
    }

    func ended(_ outcome: Outcome) {
        if let start { telemetry.ended(outcome, after: .now - start) }
        span?.attributes["tandem.outcome"] = outcome.rawValue
        span?.end()
    }

    func ended(_ error: any Error) {
        if let error = error as? TandemError {
            span?.attributes["error.type"] = error.code.rawValue
            if let state = error.sqlState { span?.attributes["db.response.status_code"] = state.rawValue }
        } else {
            span?.attributes["error.type"] = String(describing: type(of: error))
        }
        span?.setStatus(SpanStatus(code: .error))
        ended(Telemetry.outcome(of: error))
    }
}
