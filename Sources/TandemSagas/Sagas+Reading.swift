import Foundation
import TandemCluster
import TandemCore
import TandemPostgres
import TandemTransactions

/// What there is to see of sagas.
extension Sagas {
    /// Sagas, the newest first.
    ///
    /// - Parameters:
    ///   - states: which; all by default.
    ///   - isWaiting: whether only those that wait for a time, a signal or another attempt.
    ///   - name: of which definition; any by default.
    ///   - age: started how long ago at most; any by default.
    ///   - limit: how many at most.
    /// - Returns: how each stands.
    /// - Throws: `nodeUnreachable` and kin of the home node.
    public func list(
        _ states: [SagaSummary.State] = SagaSummary.State.allCases, isWaiting: Bool = false, name: String? = nil, since age: Duration? = nil, limit: Int = 100
    ) async throws -> [SagaSummary] {
        try await engine.store.check()
        return try await engine.store.list(states.map(\.rawValue), isWaiting: isWaiting, name: name, age: age, limit: limit)
    }

    /// The saga that a person means: a whole id, or six or more characters of the end of one.
    ///
    /// - Parameter suffix: the text.
    /// - Returns: the id; a whole one whether or not anybody knows it.
    /// - Throws: `notFound` where there is none or more than one; `nodeUnreachable` and kin of the home node.
    public func find(suffix: String) async throws -> SagaID {
        if let id = SagaID(suffix) { return id }
        let end = suffix.lowercased()
        guard end.utf8.count >= 6, end.allSatisfy({ $0 == "-" || ($0.isASCII && $0.isHexDigit) }) else {
            throw TandemError(.notFound, "this is neither an id nor six or more characters of the end of one", nextStep: "copy the id from `tandem saga ls`")
        }
        let result = try await engine.store.node.result(of: "SELECT id FROM tandem.saga WHERE pg_catalog.right(id::text, \(end.count)::int) = \(end) LIMIT 2")
        guard result.rowCount < 2 else { throw TandemError(.notFound, "more than one saga ends so", nextStep: "give more of the id's end") }
        guard let id = result.only.flatMap({ SagaID($0) }) else { throw TandemError(.notFound, "no saga ends so", nextStep: "`tandem saga ls` lists them") }
        return id
    }

    /// Everything about one saga.
    ///
    /// - Parameter id: the saga.
    /// - Returns: its row, its journal, and what its steps' nodes say; a node that does not answer is left out, and its steps are `unknown`.
    /// - Throws: `notFound`; `nodeUnreachable` and kin of the home node.
    public func describe(_ id: SagaID) async throws -> SagaDescription {
        let store = engine.store
        let (summary, body) = try await store.definition(of: id)
        let journal = try await store.entries(of: id), (input, courses) = try await store.inputAndCourse(of: id)
        let definition = body.flatMap { try? JSONDecoder().decode(SagaDefinition.self, from: Data($0.utf8)) }
        let records = await records(of: id)
        let names = definition?.steps.map(\.name) ?? Set(records.values.flatMap { $0.map(\.step) }).sorted()
        let steps = names.map { name in
            Self.describe(
                name, definition?.steps.first { $0.name == name }, records: records, journal: journal.filter { $0.step == name },
                courses: courses.filter { $0.step == name })
        }
        return SagaDescription(summary: summary, input: input, steps: steps, journal: journal)
    }

    struct Record: Sendable {
        let step: String
        let operation: String
        let status: String
        let output: String?
        let at: String
    }

    /// What the nodes have recorded of a saga's steps.
    private func records(of id: SagaID) async -> [NodeName: [Record]] {
        await withTaskGroup(of: (NodeName, [Record]?).self) { group in
            for node in engine.cluster.configuration.nodes.map(\.name) { group.addTask { (node, try? await self.records(of: id, on: node)) } }
            return await group.reduce(into: [:]) { $0[$1.0] = $1.1 }
        }
    }

    private func records(of id: SagaID, on node: NodeName) async throws -> [Record] {
        let result = try await engine.cluster[node].result(
            of: """
                SELECT step, op, status, output, pg_catalog.to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
                FROM tandem.saga_step WHERE saga_id = \(id.description)::uuid
                """, timeout: .seconds(3))
        return (0..<result.rowCount).map { row in
            Record(
                step: result.text(row, 0) ?? "", operation: result.text(row, 1) ?? "", status: result.text(row, 2) ?? "", output: result.text(row, 3),
                at: result.text(row, 4) ?? "")
        }
    }

    private static func describe(
        _ name: String, _ step: SagaDefinition.Step?, records: [NodeName: [Record]], journal: [SagaDescription.Entry], courses: [SagaRun.Course]
    ) -> SagaDescription.Step {
        let nodes = step?.nodes ?? records.filter { $0.value.contains { $0.step == name } }.map(\.key)
        let own = records.values.flatMap { $0 }.filter { $0.step == name }
        let done = own.first { $0.operation == StepRecord.Operation.do.rawValue }, undone = own.first { $0.operation == StepRecord.Operation.undo.rawValue }
        let isElsewhere = nodes.isEmpty
        let state: String
        if undone != nil || journal.contains(where: { $0.what == JournalEntry.What.undone.rawValue }) {
            state = "undone"
        } else if let done {
            state = done.status == "b" ? "barred" : "done"
        } else if isElsewhere {
            state = journal.contains { $0.what == JournalEntry.What.done.rawValue } ? "done" : "waiting"
        } else {
            state = nodes.contains { records[$0] == nil } ? "unknown" : "waiting"
        }
        func attempts(_ what: JournalEntry.What, _ operation: String) -> Int {
            courses.last { $0.operation == operation }?.attempts ?? (journal.last { $0.what == what.rawValue }?.attempt ?? 0)
                + (state == "waiting" ? 0 : operation == "do" ? 1 : 0)
        }
        let failed = journal.last { $0.what == JournalEntry.What.failed.rawValue || $0.what == JournalEntry.What.undoFailed.rawValue }
        return SagaDescription.Step(
            name: name, nodes: nodes, state: state, doneAt: state == "barred" ? nil : done?.at, undoneAt: undone?.at, output: done?.output,
            attempts: attempts(.failed, "do"), undoAttempts: attempts(.undoFailed, "undo"), milliseconds: courses.last { $0.operation == "do" }?.milliseconds,
            undoMilliseconds: courses.last { $0.operation == "undo" }?.milliseconds, error: failed?.detail)
    }
}
