import Glibc
public import TandemCluster
package import TandemCore
import TandemFailpoints
import TandemPostgres

extension Cluster {
    /// Runs `body` as one transaction over the nodes that it touches: all of them change, or none.
    ///
    /// When the body returns, its branches vote and the transaction commits; when it throws, everything is rolled back and its error comes out
    /// as it is. A body that swallows the error of a statement ends rolled back, too.
    ///
    /// ```swift
    /// let receipt = try await cluster.transaction { tx in
    ///     try await tx["bankA"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1", rows: 1...1)
    ///     try await tx["bankB"].execute("UPDATE account SET balance = balance + 10 WHERE id = 7", rows: 1...1)
    /// }
    /// ```
    ///
    /// - Parameters:
    ///   - options: id, isolation, nodes, timeout, acknowledgement, attempts.
    ///   - file: the caller's file, for a warning about code that blocks.
    ///   - line: the caller's line.
    ///   - body: what to do; it runs on the caller's actor, or on one of the cluster's own threads where there is none. What if it blocks there?
    ///     The connections of that thread stand still for as long.
    /// - Returns: a receipt, which exists only if the decision is durable.
    /// - Throws: the body's own error, or a `TandemError`: its `effect` says whether the transaction is rolled back or in doubt.
    ///   Cancellation before the decision rolls back and throws `CancellationError`; after the decision it changes nothing.
    @discardableResult
    public nonisolated(nonsending) func transaction<V>(
        _ options: TransactionOptions = TransactionOptions(), file: String = #fileID, line: Int = #line,
        _ body: nonisolated(nonsending) (GlobalTransaction) async throws -> V
    ) async throws -> Receipt<V> {
        let deadline = ContinuousClock.now + options.timeout
        var attempt = 1
        while true {
            do {
                return try await attemptTransaction(options, deadline, CallSite(file: file, line: line), body)
            } catch let error as TandemError where error.isRetrySafe && error.effect != .none && attempt < options.attempts && ContinuousClock.now < deadline {
                // A caller's own id may be used again only while no other process can have seen a vote under it.
                if options.id != nil && error.phase != "statement" { throw error }
                attempt += 1
                try await Task.sleep(for: Self.retryBackoff.delay(attempt: attempt - 1, random: .random(in: 0..<1)))
            }
        }
    }

    private static let retryBackoff = Backoff(base: .milliseconds(5), cap: .milliseconds(500))

    private nonisolated(nonsending) func attemptTransaction<V>(
        _ options: TransactionOptions, _ deadline: ContinuousClock.Instant, _ site: CallSite,
        _ body: nonisolated(nonsending) (GlobalTransaction) async throws -> V
    ) async throws -> Receipt<V> {
        let lane = pickLane()
        return try await withTaskExecutorPreference(lane.reactor) {
            let admitted = try await admit(options, lane, deadline)
            let transaction = GlobalTransaction(id: admitted.id, cluster: self, lane: lane, options: options, deadline: deadline, site: site)
            let watch = TransactionWatch(admitted.runtime.telemetry, admitted.id)
            do {
                let receipt = try await watch.within {
                    let value = try await body(transaction)
                    return Receipt(transaction: transaction.id, value: value, pending: try await finish(transaction, admitted))
                }
                watch.ended(.committed)
                return receipt
            } catch {
                await abandon(transaction, admitted)
                watch.ended(error)
                throw error
            }
        }
    }

    /// What a transaction holds while it runs.
    struct Admitted: Sendable {
        let id: TransactionID
        let nodes: [NodeName]
        let runtime: TransactionRuntime
    }

    /// Takes a place at each node that the transaction may touch.
    @concurrent
    func admit(_ options: TransactionOptions, _ lane: Lane, _ deadline: ContinuousClock.Instant) async throws -> Admitted {
        var nodes: [NodeName] = []
        for name in options.nodes where !nodes.contains(name) { nodes.append(try node(name).name) }
        if nodes.isEmpty { nodes = configuration.nodes.map(\.name) }
        await Failpoints.pass(.beforeAdmission)
        try await lane.admission.enter(nodes, deadline: deadline)
        let id = try options.identity()
        let runtime = TransactionRuntime.of(self)
        guard runtime.began(id) else {
            lane.reactor.execute { lane.admission.leave(nodes) }
            throw TandemError(
                .duplicateTransaction, "a transaction with this id runs in this process right now", nextStep: "wait for it, or give this one an id of its own")
        }
        return Admitted(id: id, nodes: nodes, runtime: runtime)
    }

    /// Commits what the body did. On the transaction's own lane, whatever actor the body ran on.
    @concurrent
    private func finish(_ transaction: GlobalTransaction, _ admitted: Admitted) async throws -> [NodeName] {
        await Failpoints.pass(.afterBegin)
        let branches = await transaction.end()
        if let failed = branches.lazy.compactMap(\.failure).first {
            // The body went on after a statement failed. Its work is incomplete, and its author believes that it is not.
            throw TandemError(
                failed.code, "a statement failed and the body went on: \(failed.message)", effect: .rolledBack, isRetrySafe: failed.isRetrySafe,
                node: failed.node, sqlState: failed.sqlState, nextStep: "let the error end the body; to go on after one use savepoint { }",
                constraint: failed.constraint, phase: failed.phase, cause: failed)
        }
        let pending = try await TransactionEnd(cluster: self, transaction: transaction).commit()
        await Failpoints.pass(.beforeAcknowledgement)
        release(branches, transaction.lane, admitted)
        return pending
    }

    /// Rolls back what is still open. The body's error, or the commit's, is the caller's; this adds none.
    @concurrent
    private func abandon(_ transaction: GlobalTransaction, _ admitted: Admitted) async {
        let branches = await transaction.end()
        await TransactionEnd(cluster: self, transaction: transaction).rollBack()
        release(branches, transaction.lane, admitted)
    }

    func release(_ branches: [BranchSession], _ lane: Lane, _ admitted: Admitted) {
        admitted.runtime.ended(admitted.id)
        lane.reactor.execute {
            for branch in branches { branch.giveBack() }
            lane.admission.leave(admitted.nodes)
        }
    }
}

extension TransactionID {
    /// A new id, from the clock and the system's random numbers.
    ///
    /// - Parameter isRecorded: whether the register will have a row of the transaction.
    /// - Returns: the id.
    package static func fresh(isRecorded: Bool = true) -> TransactionID {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        let milliseconds = UInt64(time.tv_sec) * 1000 + UInt64(time.tv_nsec) / 1_000_000
        let random = (UInt64.random(in: 0 ... .max), UInt64.random(in: 0 ... .max))
        return isRecorded ? make(milliseconds: milliseconds, random: random) : makeUnrecorded(milliseconds: milliseconds, random: random)
    }
}
