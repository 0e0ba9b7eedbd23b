import Foundation
public import TandemCore

/// Why a transaction was rolled back to end a deadlock: the `cause` of an error whose code is `deadlock` (40P01), where the circle went over several nodes.
///
/// ```swift
/// } catch let error as TandemError where error.code == .deadlock {
///     if let deadlock = error.cause as? Deadlock { print(deadlock.waits) }
/// }
/// ```
public struct Deadlock: Error, Sendable, Equatable, Codable {
    /// One of the waits in the circle.
    public struct Wait: Sendable, Equatable, Codable {
        /// The transaction that waited; none for a session that is no branch of one.
        public let transaction: TransactionID?
        /// The server process that waited, or 0 where the transaction waited in its own program.
        public let process: Int32
        /// The node where it waited.
        public let node: NodeName
        /// What it ran, without its parameters.
        public let statement: String
    }

    /// The waits: each waited for the next one, and the last for the first.
    public let waits: [Wait]

    init(_ cycle: [WaitEdge]) {
        waits = cycle.map { edge in
            var transaction: TransactionID?
            if case .transaction(let id) = edge.waiter { transaction = id }
            return Wait(transaction: transaction, process: edge.session?.process ?? 0, node: edge.node, statement: edge.statement)
        }
    }

    /// The circle, without statements, which may hold what is not for a log.
    var summary: String {
        func name(_ wait: Wait) -> String { wait.transaction.map { "\($0)" } ?? "session \(wait.process) of \(wait.node)" }
        return waits.indices.map { "\(name(waits[$0])) waits on \(waits[$0].node) for \(name(waits[($0 + 1) % waits.count]))" }.joined(separator: ", ")
    }

    /// As `tandem.operation` keeps it, for a victim of another process.
    var json: String { (try? String(decoding: JSONEncoder().encode(self), as: UTF8.self)) ?? "{}" }

    init?(json: String) {
        guard let read = try? JSONDecoder().decode(Deadlock.self, from: Data(json.utf8)) else { return nil }
        self = read
    }

    /// What the victim's caller gets.
    func error(_ node: NodeName?, phase: String?) -> TandemError {
        TandemError(
            .deadlock, "chosen to end a deadlock over several nodes: \(summary)", effect: .rolledBack, isRetrySafe: true, node: node,
            sqlState: .deadlockDetected,
            nextStep: "run it again, and lock rows in one order of (node, key) in all programs", phase: phase, cause: self)
    }
}
