public import TandemCluster
import TandemCore
import TandemFailpoints
import TandemPostgres

extension Cluster {
    /// Runs a transaction that is given as data.
    ///
    /// The nodes are locked in one order, the same for every such transaction, so that two of them cannot deadlock over several nodes. The
    /// last node in that order is the commit point, and its whole branch travels in one message, after all others have voted: its rows are locked
    /// the shortest.
    ///
    /// With an id of the caller's own it may be sent again, after a crash for one: a second submission does nothing and answers with the outcome of the
    /// first, a receipt without results, `duplicateTransaction` where the first one was rolled back for good, or `inDoubt`. What if something else is sent
    /// under the id? Then the answer is about the first all the same.
    ///
    /// - Parameter request: the statements and how to run them.
    /// - Returns: a receipt with one result an operation.
    /// - Throws: as `transaction(_:_:)` does; `expectationViolated` when a statement touched another number of rows than it should.
    @discardableResult
    @concurrent
    public func run(_ request: TransactionRequest) async throws -> Receipt<[OperationResult]> {
        guard !request.operations.isEmpty else {
            throw TandemError(.configurationInvalid, "the transaction has no operations", nextStep: "give it at least one")
        }
        for operation in request.operations {
            _ = try node(operation.node)
            try RequestRun.check(operation, self)
        }
        let deadline = ContinuousClock.now + request.options.timeout
        var attempt = 1
        while true {
            do {
                return try await attemptRequest(request, deadline)
            } catch let error as TandemError where error.code == .duplicateTransaction {
                guard let id = request.options.id else { throw error }
                // Where the first one left nothing behind, the id is free.
                guard let pending = try await settleEarlier(id, error, until: deadline) else { continue }
                return Receipt(transaction: id, value: [], pending: pending, isRepeated: true)
            } catch let error as TandemError
                where error.isRetrySafe && error.effect != .none && attempt < request.options.attempts && ContinuousClock.now < deadline
            {
                if request.options.id != nil { throw error }
                attempt += 1
                try await Task.sleep(for: RequestRun.backoff.delay(attempt: attempt - 1, random: .random(in: 0..<1)))
            }
        }
    }

    /// Waits for the outcome of the transaction that had the id first.
    ///
    /// - Returns: where it is committed, the nodes that have not confirmed yet; `nil` where it was rolled back in order and the id may be used.
    private func settleEarlier(_ id: TransactionID, _ error: TandemError, until deadline: ContinuousClock.Instant) async throws -> [NodeName]? {
        func inDoubt(_ cause: any Error) -> TandemError {
            TandemError(
                .inDoubt, "a transaction of this id was sent before, and its outcome is not known yet", effect: .inDoubt(id), node: error.node,
                nextStep: "send it again later, or ask: `tandem tx wait \(id)`", phase: error.phase, cause: cause)
        }
        let outcome: Outcome, description: TransactionDescription?
        do {
            outcome = try await self.outcome(of: id, within: max(.seconds(1), deadline - .now))
            description = try? await describe(id)
        } catch let cancelled as CancellationError {
            // This attempt did nothing; what the first one did is not known here.
            throw inDoubt(cancelled)
        }
        switch outcome {
        case .committed:
            let pending = description?.branches.filter { $0.state == "prepared" }.map(\.node) ?? []
            if !pending.isEmpty { TransactionRuntime.of(self).leftPending(id, pending, self) }
            return pending
        case .rolledBack:
            guard description?.branches.contains(where: { $0.row == "A" }) ?? false else {
                guard ContinuousClock.now < deadline else { throw error }
                return nil
            }
            throw TandemError(
                .duplicateTransaction, "the transaction of this id was rolled back for good before", effect: .rolledBack, node: error.node,
                sqlState: error.sqlState, nextStep: "give it a new id", phase: error.phase, cause: error)
        case .inDoubt: throw inDoubt(error)
        }
    }

    private func attemptRequest(_ request: TransactionRequest, _ deadline: ContinuousClock.Instant) async throws -> Receipt<[OperationResult]> {
        let lane = pickLane()
        // A task that runs on the reactor prefers it already.
        if lane.reactor.isCurrent { return try await runOnLane(request, lane, deadline) }
        return try await withTaskExecutorPreference(lane.reactor) { try await runOnLane(request, lane, deadline) }
    }

    @concurrent
    private func runOnLane(_ request: TransactionRequest, _ lane: Lane, _ deadline: ContinuousClock.Instant) async throws -> Receipt<[OperationResult]> {
        var options = request.options
        options.nodes = []
        for operation in request.operations where !options.nodes.contains(operation.node) { options.nodes.append(operation.node) }
        let admitted = try await admit(options, lane, deadline)
        let run = RequestRun(cluster: self, request: request, options: options, lane: lane, admitted: admitted, deadline: deadline)
        let watch = TransactionWatch(admitted.runtime.telemetry, admitted.id)
        do {
            let (results, pending) = try await watch.within { try await run.run() }
            watch.ended(.committed)
            await Failpoints.pass(.beforeAcknowledgement)
            release(run.sessions, lane, admitted)
            return Receipt(transaction: admitted.id, value: results, pending: pending)
        } catch {
            await run.rollBack()
            release(run.sessions, lane, admitted)
            watch.ended(error)
            throw error
        }
    }
}
