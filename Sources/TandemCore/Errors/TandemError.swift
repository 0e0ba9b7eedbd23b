/// Every failure that Tandem reports.
///
/// First read ``effect``: it says what became of the transaction, and that decides what the caller may do. The ``code`` says what happened.
///
/// ```swift
/// do {
///     try await cluster.transaction { ... }
/// } catch let error as TandemError {
///     switch error.effect {
///     case .none, .rolledBack: ...        // nothing happened; run again where error.isRetrySafe
///     case .inDoubt(let id): ...          // never run again: ask for the outcome of id
///     }
/// }
/// ```
///
/// The description holds the code, phase, node, gid, SQLSTATE, constraint, message and next step, and never SQL text or parameters, so it
/// may be logged anywhere.
public struct TandemError: Error, Sendable, CustomStringConvertible {
    /// What became of the transaction that failed.
    public enum Effect: Hashable, Sendable {
        /// No transaction was concerned, or none had begun.
        case none
        /// The transaction is rolled back: nothing of it will ever be visible.
        case rolledBack
        /// The decision was sent and its outcome is unknown: ask for it by this id.
        case inDoubt(TransactionID)
    }

    /// What kind of failure it is.
    public let code: Code
    /// What became of the transaction.
    public let effect: Effect
    /// Whether the same work may simply be run again.
    public let isRetrySafe: Bool
    /// The node where it happened, if it was one.
    public let node: NodeName?
    /// The server's code, if a server reported the failure.
    public let sqlState: SQLState?
    /// What happened, in one sentence, without SQL text or parameters.
    public let message: String
    /// What to do now, or an empty text where the code's own advice says it.
    public let nextStep: String
    /// The violated constraint, if it was one.
    public let constraint: String?
    /// The part of the work in which it happened, for example `prepare`.
    public let phase: String?
    /// The branch that it happened to, if it was one.
    public let gid: GID?
    /// The error below this one.
    public let cause: (any Error)?

    /// A failure.
    ///
    /// - Parameters:
    ///   - code: What kind of failure it is.
    ///   - message: What happened, in one sentence, without SQL text or parameters.
    ///   - effect: What became of the transaction.
    ///   - isRetrySafe: Whether the same work may simply be run again; never true of a transaction in doubt.
    ///   - node: The node where it happened.
    ///   - sqlState: The server's code.
    ///   - nextStep: What to do now; empty for the code's own advice.
    ///   - constraint: The violated constraint.
    ///   - phase: The part of the work in which it happened.
    ///   - gid: The branch that it happened to.
    ///   - cause: The error below this one.
    package init(
        _ code: Code, _ message: String, effect: Effect = .none, isRetrySafe: Bool = false, node: NodeName? = nil,
        sqlState: SQLState? = nil, nextStep: String = "", constraint: String? = nil, phase: String? = nil, gid: GID? = nil,
        cause: (any Error)? = nil
    ) {
        self.code = code
        self.effect = effect
        // A transaction in doubt may have committed: running it again could do its work twice, whatever the caller of this believed.
        self.isRetrySafe = isRetrySafe && !effect.isInDoubt
        self.node = node
        self.sqlState = sqlState
        self.message = message
        self.nextStep = nextStep
        self.constraint = constraint
        self.phase = phase
        self.gid = gid
        self.cause = cause
    }

    /// This failure, seen from a place that knows more about it.
    ///
    /// - Parameters:
    ///   - effect: What became of the transaction; nil keeps what is there, as for the others.
    ///   - node: The node where it happened.
    ///   - phase: The part of the work in which it happened.
    ///   - isRetrySafe: Whether the same work may simply be run again; never true of a transaction in doubt.
    ///   - gid: The branch that it happened to.
    /// - Returns: The failure with what was given replaced.
    package func with(
        effect: Effect? = nil, node: NodeName? = nil, phase: String? = nil, isRetrySafe: Bool? = nil, gid: GID? = nil
    ) -> TandemError {
        TandemError(
            code, message, effect: effect ?? self.effect, isRetrySafe: isRetrySafe ?? self.isRetrySafe, node: node ?? self.node,
            sqlState: sqlState, nextStep: nextStep, constraint: constraint, phase: phase ?? self.phase, gid: gid ?? self.gid, cause: cause)
    }

    /// The number with which the command exits: that of the code, except that a transaction in doubt always says so.
    package var exitCode: Code.ExitCode {
        effect.isInDoubt ? .outcomeUnknown : code.entry?.exitCode ?? .failed
    }

    /// Code, message, where and with what, what became of the transaction, and what to do, on one line.
    public var description: String {
        var places: [String] = []
        if let phase { places.append("phase \(phase)") }
        if let node { places.append("node \(node)") }
        if let gid { places.append("gid \(gid)") }
        if let sqlState { places.append("SQLSTATE \(sqlState)") }
        if let constraint { places.append("constraint \(constraint)") }
        var text = "\(code): \(message)"
        if !places.isEmpty { text += " (\(places.joined(separator: ", ")))" }
        switch effect {
        case .none: break
        case .rolledBack: text += "; the transaction is rolled back"
        case .inDoubt(let id): text += "; transaction \(id) is in doubt"
        }
        let advice = nextStep.isEmpty ? code.entry?.whatToDo ?? "" : nextStep
        if !advice.isEmpty { text += ". Next: \(advice)" }
        // A server's message or a constraint's name may hold line breaks, which would forge lines of a log.
        return text.onOneLine
    }
}

extension TandemError.Effect {
    /// Whether the outcome is unknown.
    var isInDoubt: Bool {
        switch self {
        case .none, .rolledBack: false
        case .inDoubt: true
        }
    }
}
