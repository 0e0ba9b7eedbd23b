import Foundation
public import TandemCore
import TandemFailpoints
import TandemPostgres
public import TandemTransactions

/// The steps.
extension SagaContext {
    /// Runs a step in a transaction of one node: its effect and its record commit together, so it happens once.
    ///
    /// - Parameters:
    ///   - name: the step's name, one for each step of the saga.
    ///   - node: where it runs.
    ///   - retry: how often and how fast it is tried again. Errors of connections, locks and serialisation are; others turn the saga back.
    ///   - timeout: how long one attempt may take.
    ///   - body: what it does; what it returns is kept, and is what the step answers from then on.
    ///   - undo: what undoes it, with what it returned; `nil` there where an operator has seen to the step.
    /// - Returns: what the body returned, now or before.
    /// - Throws: what ends the function; let it out. Cancellation: this process ends, and another one goes on.
    @discardableResult
    public func step<Value: Codable & Sendable>(
        _ name: String, on node: NodeName, retry: SagaDefinition.Retry = .init(), timeout: Duration = .seconds(30),
        _ body: (Branch) async throws -> Value, undo: @escaping @Sendable (Branch, Value?) async throws -> Void
    ) async throws -> Value {
        try await perform(name, [node], retry, timeout, body: { try await body($0[node]) }, undo: { try await undo($0[node], $1) })
    }

    /// Runs a step that nothing has to undo, as ``step(_:on:retry:timeout:_:undo:)`` does.
    ///
    /// - Parameters:
    ///   - name: the step's name.
    ///   - node: where it runs.
    ///   - undo: `.none`, to say so.
    ///   - retry: how often and how fast it is tried again.
    ///   - timeout: how long one attempt may take.
    ///   - body: what it does.
    /// - Returns: what the body returned, now or before.
    /// - Throws: what ends the function; let it out.
    @discardableResult
    public func step<Value: Codable & Sendable>(
        _ name: String, on node: NodeName, undo: NoUndo, retry: SagaDefinition.Retry = .init(), timeout: Duration = .seconds(30),
        _ body: (Branch) async throws -> Value
    ) async throws -> Value {
        try await perform(name, [node], retry, timeout, body: { try await body($0[node]) }, undo: nil)
    }

    /// Runs a step over several nodes, which commit together or not at all.
    ///
    /// - Parameters:
    ///   - name: the step's name.
    ///   - nodes: where it runs; the first one keeps the record.
    ///   - retry: how often and how fast it is tried again.
    ///   - timeout: how long one attempt may take.
    ///   - body: what it does.
    ///   - undo: what undoes it, also over all nodes at once.
    /// - Returns: what the body returned, now or before.
    /// - Throws: what ends the function; let it out.
    @discardableResult
    public func step<Value: Codable & Sendable>(
        _ name: String, across nodes: [NodeName], retry: SagaDefinition.Retry = .init(), timeout: Duration = .seconds(30),
        _ body: (GlobalTransaction) async throws -> Value, undo: @escaping @Sendable (GlobalTransaction, Value?) async throws -> Void
    ) async throws -> Value {
        try await perform(name, nodes, retry, timeout, body: body, undo: undo)
    }

    /// Runs the step after which the saga only goes forward. No other step may run beside it.
    ///
    /// - Parameters:
    ///   - name: the step's name.
    ///   - nodes: where it runs, one or several that commit together; the first one keeps the record.
    ///   - retry: how often and how fast it is tried again; when it fails for good, the saga turns back.
    ///   - timeout: how long one attempt may take.
    ///   - body: what it does.
    /// - Returns: what the body returned, now or before.
    /// - Throws: what ends the function; let it out.
    @discardableResult
    public func pivot<Value: Codable & Sendable>(
        _ name: String, across nodes: [NodeName], retry: SagaDefinition.Retry = .init(), timeout: Duration = .seconds(30),
        _ body: (GlobalTransaction) async throws -> Value
    ) async throws -> Value {
        try await perform(name, nodes, retry, timeout, isPivot: true, body: body, undo: nil)
    }

    /// Runs a step behind the pivot, which is tried again whatever happens. When its attempts are used up, the saga waits for an operator.
    ///
    /// - Parameters:
    ///   - name: the step's name.
    ///   - node: where it runs.
    ///   - retry: how often and how fast it is tried again; for about an hour and a half by default.
    ///   - timeout: how long one attempt may take.
    ///   - body: what it does.
    /// - Returns: what the body returned, now or before.
    /// - Throws: what ends the function; let it out.
    @discardableResult
    public func retriable<Value: Codable & Sendable>(
        _ name: String, on node: NodeName, retry: SagaDefinition.Retry? = nil, timeout: Duration = .seconds(30), _ body: (Branch) async throws -> Value
    ) async throws -> Value {
        try await perform(name, [node], retry ?? .persistent, timeout, isPersistent: true, body: { try await body($0[node]) }, undo: nil)
    }

    /// That nothing undoes a step, and nothing has to.
    public enum NoUndo: Sendable {
        /// Nothing does.
        case none
    }

    // MARK: Doing

    private func perform<Value: Codable & Sendable>(
        _ name: String, _ nodes: [NodeName], _ retry: SagaDefinition.Retry, _ timeout: Duration, isPivot: Bool = false, isPersistent: Bool = false,
        body: (GlobalTransaction) async throws -> Value, undo: (@Sendable (GlobalTransaction, Value?) async throws -> Void)?
    ) async throws -> Value {
        try begin(name, isPivot: isPivot)
        var isDone = false
        defer { end(isPivot: isPivot, isDone: isDone) }
        guard let first = nodes.first else { throw unwind(.failed(TandemError(.configurationInvalid, "the step \(name) names no node"))) }
        let record = stepRecord(name), output: String
        switch mode {
        case .barring:
            // Behind the pivot nothing is barred: there is no way back.
            if state.withLock({ $0.isPastPivot }) { throw unwind(.failed(TandemError(.sagaStepBarred, "the saga is past its pivot"))) }
            output = try await bar(name, record, first)
        case .forward:
            if record.epoch > 1, case let known = try await recorded(record, first), let known {
                output = known
            } else {
                try await expectNothingElse(name)
                output = try await attempt(name, retry, isPersistent: isPersistent) { isFirst in
                    try await run(record, nodes, timeout, isFirst: isFirst, body)
                }
            }
        }
        isDone = true
        let engine = engine
        if let undo {
            add(
                Undo(step: name, nodes: nodes) {
                    let value = output == "null" ? nil : try SagaJSON.decode(Value.self, output)
                    try await Self.undo(engine, record, nodes, timeout) { try await undo($0, value) }
                })
        } else {
            add(Undo(step: name, nodes: nodes, run: nil))
        }
        return try SagaJSON.decode(Value.self, output)
    }

    private func recorded(_ record: StepRecord, _ node: NodeName) async throws -> String? {
        switch try await engine.store.definitely(within: SagaStore.patience, { try await record.read(on: engine.cluster[node]) }) {
        case .absent: return nil
        case .done(let output): return output
        case .barred: throw unwind(.failed(TandemError(.sagaStepBarred, "the step \(record.step) is barred: the saga turns back")))
        }
    }

    private func bar(_ name: String, _ record: StepRecord, _ node: NodeName) async throws -> String {
        let engine = engine
        // A function that has several steps under way cancels the others when one throws: they have to be known all the same.
        let task = Task { try await engine.store.definitely(within: SagaStore.patience) { try await record.bar(on: node, engine.cluster) } }
        let status: StepRecord.Status
        do { status = try await task.value } catch {
            state.withLock { $0.trouble = $0.trouble ?? error }
            throw error
        }
        switch status {
        case .done(let output): return output
        case .barred, .absent: throw unwind(.failed(TandemError(.sagaStepBarred, "the step \(name) is barred")))
        }
    }

    private func run<Value: Codable & Sendable>(
        _ record: StepRecord, _ nodes: [NodeName], _ timeout: Duration, isFirst: Bool, _ body: (GlobalTransaction) async throws -> Value
    ) async throws -> String {
        await Failpoints.pass(.sagaBeforeStep)
        if let output = resolved[record.step] {
            do { _ = try SagaJSON.decode(Value.self, output) } catch {
                // Nothing is recorded: another output can still be given.
                throw unwind(
                    .mismatched(
                        TandemError(
                            .sagaMismatch, "the output that an operator has given to the step \(record.step) is none of its type: \(error)",
                            nextStep: "`tandem saga resolve \(id) \(record.step) --output ...` with one that fits")))
            }
            try await engine.cluster[nodes[0]].execute(record.resolve(output))
            return try await recorded(record, nodes[0]) ?? output
        }
        if !isFirst, let output = try await recorded(record, nodes[0]) { return output }
        var options = TransactionOptions()
        options.timeout = timeout
        options.nodes = nodes
        options.isRecorded = nodes.count > 1
        do {
            let output = try await engine.cluster.transaction(options) { transaction in
                try await transaction[nodes[0]].execute(record.insert(.do))
                let output = try SagaJSON.encode(try await body(transaction))
                try await transaction[nodes[0]].execute(try record.setOutput(output))
                return output
            }.value
            await Failpoints.pass(.sagaAfterStep)
            return output
        } catch let error as TandemError where error.constraint == StepRecord.constraint {
            guard let output = try await recorded(record, nodes[0]) else { throw error }
            return output
        }
    }

    static func undo(
        _ engine: SagaEngine, _ record: StepRecord, _ nodes: [NodeName], _ timeout: Duration, _ body: (GlobalTransaction) async throws -> Void
    ) async throws {
        await Failpoints.pass(.sagaBeforeUndo)
        var options = TransactionOptions()
        options.timeout = timeout
        options.nodes = nodes
        options.isRecorded = nodes.count > 1
        do {
            try await engine.cluster.transaction(options) { transaction in
                try await transaction[nodes[0]].execute(record.insert(.undo))
                try await body(transaction)
            }
        } catch let error as TandemError where error.constraint == StepRecord.constraint {
            // It was undone before.
        }
        await Failpoints.pass(.sagaAfterUndo)
    }
}
