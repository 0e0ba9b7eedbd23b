import TandemCluster
import TandemCore
import TandemPostgres
import TandemTransactions

/// A step of statements on one node, or on several with a two-phase commit: each attempt is one transaction together with the step's record.
struct SQLStep: Sendable {
    /// One statement, ready to get its values.
    struct Prepared: Sendable {
        private enum Content: Sendable {
            case statement(NamedStatement)
            case event(EventStatement)
        }

        let node: NodeName
        private let content: Content
        let expectedRows: ClosedRange<Int>?
        /// Whether it may return a row that is an output, by its first word and whether RETURNING stands in it.
        let mayReturn: Bool

        init(_ node: NodeName, _ event: SagaDefinition.Event) {
            self.node = node
            content = .event(EventStatement(event))
            expectedRows = nil
            mayReturn = false
        }

        init(_ node: NodeName, _ statement: SagaDefinition.Statement) {
            self.node = node
            content = .statement(NamedStatement(statement.sql))
            expectedRows = statement.expectedRows
            let words = statement.sql.uppercased().split { !$0.isLetter && $0 != "_" }
            mayReturn = !["INSERT", "UPDATE", "DELETE", "MERGE"].contains(words.first.map(String.init) ?? "") || words.contains("RETURNING")
        }

        func operation(_ scope: SagaScope) throws -> TransactionRequest.Operation {
            let statement: NamedStatement
            switch content {
            case .statement(let named): statement = named
            case .event(let event): return .init(node, try event.sql(scope))
            }
            let parameters = try statement.names.map { name -> PostgresParameter in
                switch try scope.value(of: name) {
                case .null: .null
                case .bool(let value): .text(value ? "true" : "false")
                case .string(let text), .number(let text): .text(text)
                case let value: .text(value.text)
                }
            }
            return .init(node, SQL(statement.text, parameters: parameters), expectedRows: expectedRows)
        }
    }

    let cluster: Cluster
    /// Where the record is: the step's node, or the first one of several.
    let node: NodeName
    let timeout: Duration
    let action: [Prepared]
    let undo: [Prepared]
    let lock: (template: SagaTemplate, fails: Bool)?
    private let nodes: Set<NodeName>

    init?(_ step: SagaDefinition.Step, _ cluster: Cluster) {
        let undo: [Prepared], action: [Prepared]
        switch step.action {
        case .sql(let node, let statements): action = statements.map { Prepared(node, $0) }
        case .twoPhase(let operations): action = operations.map { Prepared($0.node, $0.statement) }
        case .outbox(let node, let event): action = [Prepared(node, event)]
        case .http, .timer, .signal: return nil
        }
        guard let node = action.first?.node else { return nil }
        switch step.undo {
        case .sql(let statements): undo = statements.map { Prepared(node, $0) }
        case .twoPhase(let operations): undo = operations.map { Prepared($0.node, $0.statement) }
        case .outbox(let event): undo = [Prepared(node, event)]
        case .http, .some(.none), nil: undo = []
        }
        self.cluster = cluster
        self.node = node
        self.action = action
        self.undo = undo
        timeout = step.timeout
        lock = step.lock.map { (SagaTemplate($0), step.failsWhenLocked) }
        nodes = Set(action.map(\.node))
    }

    // MARK: Doing

    /// Tries once to do the step.
    ///
    /// - Parameters:
    ///   - record: its record.
    ///   - scope: the values.
    ///   - isFirst: whether nobody can have tried before: otherwise the record is read first.
    /// - Returns: its output.
    /// - Throws: `TandemError`; the effect in it is the transaction's. ``Barred`` where the record bars it.
    func run(_ record: StepRecord, _ scope: SagaScope, isFirst: Bool) async throws -> String {
        if !isFirst, let output = try await self.output(record) { return output }
        var request = TransactionRequest([.init(node, record.insert(.do))])
        if let lock { request.operations.append(.init(node, record.takeLock(try lock.template.text(scope)))) }
        request.operations += try action.map { try $0.operation(scope) }
        request.options.timeout = timeout
        request.options.isRecorded = nodes.count > 1
        // Only what returns a row makes a second message necessary: its output is written before the commit.
        let output = Locked("null")
        if nodes.count == 1, action.last?.mayReturn == true {
            request.conclusion = { results in
                guard let value = results.last.flatMap({ StepOutput($0) })?.json else { return [] }
                output.withLock { $0 = value }
                return [try record.setOutput(value)]
            }
        }
        do {
            _ = try await cluster.run(request)
            return output.withLock { $0 }
        } catch let error as TandemError where error.constraint == StepRecord.constraint {
            if let output = try await self.output(record) { return output }
            throw error
        } catch let error as TandemError where error.sqlState == .sagaResourceLocked {
            throw TandemError(
                .sagaResourceLocked, error.message, effect: .rolledBack, isRetrySafe: lock?.fails == false, node: node, sqlState: error.sqlState,
                nextStep: "wait for the other saga's end, or look at it: `tandem saga show ID`", cause: error)
        }
    }

    /// Records the step as done, with an output of an operator's.
    ///
    /// - Returns: the output that is recorded: where it had happened all the same, its own.
    func resolve(_ record: StepRecord, _ output: String) async throws -> String {
        try await cluster[node].execute(record.resolve(output))
        return try await self.output(record) ?? output
    }

    /// The output that the step has left; `nil` where it is not recorded.
    func output(_ record: StepRecord) async throws -> String? {
        switch try await record.read(on: cluster[node]) {
        case .absent: return nil
        case .done(let output): return output
        case .barred: throw Barred()
        }
    }

    // MARK: Undoing

    /// Tries once to undo the step, which is done.
    func undo(_ record: StepRecord, _ scope: SagaScope) async throws {
        var request = TransactionRequest([.init(node, record.insert(.undo))])
        request.operations += try undo.map { try $0.operation(scope) }
        request.options.timeout = timeout
        request.options.isRecorded = Set(request.operations.map(\.node)).count > 1
        do {
            _ = try await cluster.run(request)
        } catch let error as TandemError where error.constraint == StepRecord.constraint {
            // It was undone before.
        }
    }
}

/// The step's record bars it.
struct Barred: Error {}

/// What a step's last statement returned, as its output.
struct StepOutput {
    let json: String

    /// - Parameter result: no row is no output, one row an object of its columns, more are a list of those.
    init?(_ result: OperationResult) {
        guard !result.columns.isEmpty, !result.values.isEmpty else { return nil }
        let rows = result.values.map { row in
            JSON.object(zip(row, result.columns).map { value, column in (column.name, JSON(value, of: column.type)) })
        }
        json = (rows.count == 1 ? rows[0] : JSON.array(rows)).text
    }
}

extension JSON {
    /// A value of the server, with every digit of a number.
    fileprivate init(_ value: String?, of type: PostgresType) {
        guard let value else {
            self = .null
            return
        }
        switch type {
        case .bool: self = .bool(value == "t")
        case .int2, .int4, .int8, .oid: self = .number(value)
        case .float4, .float8, .numeric: self = Double(value)?.isFinite == true ? .number(value) : .string(value)
        case .json, .jsonb: self = .raw(value)
        default: self = .string(value)
        }
    }
}
