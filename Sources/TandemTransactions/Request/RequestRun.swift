import TandemCluster
import TandemCore
import TandemPostgres

/// One attempt to run a ``TransactionRequest``. On its lane's reactor.
final class RequestRun: Sendable {
    static let backoff = Backoff(base: .milliseconds(5), cap: .milliseconds(500))

    /// The operations of one node, by their place in the request.
    private struct Part: Sendable {
        let session: BranchSession
        let operations: [Int]
        let statements: [Statement]
    }

    private let cluster: Cluster
    private let request: TransactionRequest
    private let options: TransactionOptions
    private let lane: Lane
    private let transaction: TransactionID
    private let runtime: TransactionRuntime
    private let deadline: ContinuousClock.Instant
    let sessions: [BranchSession]
    private let results: Locked<[OperationResult?]>

    init(
        cluster: Cluster, request: TransactionRequest, options: TransactionOptions, lane: Lane, admitted: Cluster.Admitted, deadline: ContinuousClock.Instant
    ) {
        self.cluster = cluster
        self.request = request
        self.options = options
        self.lane = lane
        let transaction = admitted.id
        self.transaction = transaction
        runtime = admitted.runtime
        self.deadline = deadline
        sessions = options.nodes.compactMap { cluster.nodes[$0] }.map {
            BranchSession(cluster, node: $0, transaction: transaction, lane: lane, options: options, deadline: deadline)
        }
        results = Locked(Array(repeating: nil, count: request.operations.count))
    }

    /// Refuses what only Tandem may say, before anything is sent.
    static func check(_ operation: TransactionRequest.Operation, _ cluster: Cluster) throws {
        if let defect = operation.sql.defect { throw defect.with(node: operation.node) }
        try cluster.nodes[operation.node]?.refuseSessionChange(in: operation.sql.text)
        guard let control = TransactionControl(of: operation.sql.text) else { return }
        throw TandemError(
            .statementRefused, "\(control.rawValue) would change the transaction that the statement is part of", node: operation.node,
            nextStep: "leave it out: the file is one transaction, which commits at its end")
    }

    func run() async throws -> ([OperationResult], [NodeName]) {
        // A node that is not known yet, or whose connections are gone, is asked before others do work in vain. Otherwise each branch takes its
        // connection when it sends something: fewer sessions are then in use at a time, and their caches are warmer.
        for session in sessions where !session.isReady { _ = try await session.open() }
        let parts = try order()
        guard let last = parts.last else { return ([], []) }
        if options.isReadOnly { return (try await read(parts), []) }
        // What can travel with a vote or with the decision does. Members lock in order: the last of them votes in the same message.
        let members = parts.dropLast()
        for part in members.dropLast() { try await send(part) }
        if let voter = members.last { voter.session.hold(voter.statements) }
        // The commit point's statements travel with the decision, unless somebody has to look at their results first.
        let conclusion = request.conclusion
        let mustLook = conclusion != nil || last.operations.contains { request.operations[$0].expectedRows != nil }
        if !mustLook { last.session.hold(last.statements) }
        var commit = try Commit(
            cluster: cluster, runtime: runtime, lane: lane, transaction: transaction, options: options, deadline: deadline,
            writers: parts.map(\.session), readers: [], commitPoint: last.session,
            examine: { [self] session, results in
                // What was sent before the decision has been looked at.
                guard let part = parts.first(where: { $0.session === session }), !(mustLook && session === last.session) else { return nil }
                return take(results, of: part)
            })
        if mustLook {
            commit.beforeDecision = { [self] in
                try await send(last)
                if let conclusion { last.session.hold(try conclusion(results.withLock { $0.compactMap { $0 } }).map { try Statement($0) }) }
            }
        }
        let pending = try await commit.run()
        return (results.withLock { $0.compactMap { $0 } }, pending)
    }

    /// A transaction that refuses to write has nothing to decide.
    private func read(_ parts: [Part]) async throws -> [OperationResult] {
        for part in parts { try await send(part) }
        try await TransactionEnd.commitReaders(sessions, on: lane.reactor)
        return results.withLock { $0.compactMap { $0 } }
    }

    /// The nodes in the order in which every transaction of this cluster locks them; the last is the commit point.
    private func order() throws -> [Part] {
        let ordered = try sessions.map { ($0, try $0.id()) }.sorted { one, other in
            (one.0.node.configuration.commitPointStrength, one.1) < (other.0.node.configuration.commitPointStrength, other.1)
        }
        return try ordered.map { session, _ in
            let operations = request.operations.indices.filter { request.operations[$0].node == session.name }
            return Part(session: session, operations: operations, statements: try operations.map { try Statement(request.operations[$0].sql) })
        }
    }

    /// Sends a part's statements now and looks at their results.
    private func send(_ part: Part) async throws {
        let results = try await part.session.run(part.statements)
        if let wrong = take(results, of: part) { throw wrong }
    }

    private func take(_ answers: [ResultSet], of part: Part) -> TandemError? {
        var wrong: TandemError?
        for (operation, answer) in zip(part.operations, answers) {
            let result = OperationResult(part.session.name, answer)
            results.withLock { $0[operation] = result }
            if let expected = request.operations[operation].expectedRows, !expected.contains(result.rows) {
                wrong = wrong ?? Expectation.violated(result.rows, expected, part.session.name)
            }
        }
        return wrong
    }

    /// Rolls back what is still open.
    func rollBack() async {
        await TransactionEnd.end(sessions, with: Register.rollback, on: lane.reactor)
    }
}
