import Foundation
import TandemCluster
import TandemCore
import TandemPostgres
import TandemTransactions

/// Whether the home node and the steps' nodes remember the same.
extension Sagas {
    /// What one comparison has seen.
    public struct Reconciliation: Sendable, Codable {
        /// The sagas that were compared.
        public internal(set) var sagas = 0
        /// What contradicts, node by node.
        public internal(set) var gaps: [SagaGap] = []
    }

    /// Sagas that one statement asks for.
    private static let batch = 500
    /// No id comes before it.
    private static let least = "00000000-0000-0000-0000-000000000000"

    /// Compares what the home node knows of sagas with what their steps' nodes have recorded, and finds what a restore of an older backup has forgotten.
    ///
    /// Nothing is done twice where a home node was restored: a saga that is run anew finds its steps recorded. But one that was started after the backup is not there any more, and
    /// what it has done is: these are found here, with steps that a node's own restore has lost. It changes nothing, and reads each table once, some rows at a time. Of sagas in
    /// Swift, whose steps only their program knows, the first kind is found.
    ///
    /// - Parameter age: younger sagas and records are left out: they may be under way.
    /// - Returns: how many sagas were compared, and what contradicts.
    /// - Throws: `nodeUnreachable` and kin: all nodes are needed. `CancellationError`.
    public func reconcile(olderThan age: Duration = .seconds(60)) async throws -> Reconciliation {
        try await engine.store.check()
        var result = Reconciliation()
        for node in engine.cluster.configuration.nodes.map(\.name) { try await findUnknown(on: node, age, &result) }
        try await findForgotten(age, &result)
        return result
    }

    // MARK: Records without a saga

    private func findUnknown(on node: NodeName, _ age: Duration, _ result: inout Reconciliation) async throws {
        var last = Self.least
        while true {
            try Task.checkCancellation()
            let ids = try await ids(
                on: node,
                """
                SELECT DISTINCT saga_id FROM tandem.saga_step
                WHERE saga_id > \(last)::uuid AND at < pg_catalog.clock_timestamp() - \(age.milliseconds)::int8 * interval '1 ms'
                ORDER BY saga_id LIMIT \(Self.batch)::int
                """)
            guard let end = ids.last else { return }
            last = end.description
            let known = Set(
                try await self.ids(on: engine.store.node.name, "SELECT id FROM tandem.saga WHERE id = ANY (\(ids.map(\.description))::uuid[])"))
            let unknown = ids.filter { !known.contains($0) }
            if unknown.isEmpty { continue }
            // What the retention removes goes from the nodes first: what is still there now was not removed by it.
            for (id, steps) in try await recorded(unknown, on: node).sorted(by: { $0.key.description < $1.key.description }) {
                for (step, state) in steps.sorted(by: { $0.key < $1.key }) where state != "barred" {
                    result.gaps.append(SagaGap(saga: id, kind: .sagaMissing, node: node, step: step, recorded: state))
                }
            }
        }
    }

    private func ids(on node: NodeName, _ question: SQL) async throws -> [SagaID] {
        let answer = try await engine.cluster[node].result(of: question)
        return (0..<answer.rowCount).compactMap { answer.text($0, 0).flatMap { SagaID($0) } }
    }

    /// How a node has recorded the steps of sagas.
    private func recorded(_ ids: [SagaID], on node: NodeName) async throws -> [SagaID: [String: String]] {
        let answer = try await engine.cluster[node].result(
            of: """
                SELECT saga_id, step, CASE WHEN bool_or(op = 'u') THEN 'undone' WHEN bool_or(status = 'b') THEN 'barred' ELSE 'done' END
                FROM tandem.saga_step WHERE saga_id = ANY (\(ids.map(\.description))::uuid[]) GROUP BY saga_id, step
                """)
        return (0..<answer.rowCount).reduce(into: [:]) { all, row in
            guard let id = answer.text(row, 0).flatMap({ SagaID($0) }), let step = answer.text(row, 1) else { return }
            all[id, default: [:]][step] = answer.text(row, 2)
        }
    }

    // MARK: Sagas without their records

    private struct Ended {
        let id: SagaID
        let isCompleted: Bool
        let definition: String
        /// Steps that were done or undone by hand, or left out.
        let excused: Set<String>
    }

    private func findForgotten(_ age: Duration, _ result: inout Reconciliation) async throws {
        var last = Self.least
        while true {
            try Task.checkCancellation()
            let (all, end) = try await ended(after: last, age)
            guard let end else { return }
            last = end.description
            result.sagas += all.count
            var gaps = try await gaps(all)
            if !gaps.isEmpty {
                // Those that the retention has removed meanwhile are not there any more.
                let ids = Set(gaps.map(\.saga)).map(\.description)
                let present = try await self.ids(
                    on: engine.store.node.name,
                    "SELECT id FROM tandem.saga WHERE id = ANY (\(ids)::uuid[]) AND ended_at > pg_catalog.clock_timestamp() - \(engine.options.retention.milliseconds)::int8 * interval '1 ms'"
                )
                gaps.removeAll { !present.contains($0.saga) }
            }
            result.gaps += gaps
        }
    }

    private func ended(after last: String, _ age: Duration) async throws -> ([Ended], last: SagaID?) {
        let answer = try await engine.store.node.result(
            of: """
                SELECT s.id, s.state = 'completed', pg_catalog.encode(s.definition, 'hex'),
                    (SELECT pg_catalog.json_agg(j.step) FROM tandem.saga_journal j WHERE j.saga_id = s.id AND j.what IN ('skip', 'resolve'))
                FROM tandem.saga s
                WHERE s.id > \(last)::uuid AND NOT s.is_code AND s.ended_at < pg_catalog.clock_timestamp() - \(age.milliseconds)::int8 * interval '1 ms'
                ORDER BY s.id LIMIT \(Self.batch)::int
                """)
        let all = (0..<answer.rowCount).compactMap { row -> Ended? in
            guard let id = answer.text(row, 0).flatMap({ SagaID($0) }), let definition = answer.text(row, 2) else { return nil }
            let excused = answer.text(row, 3).flatMap { try? JSONDecoder().decode([String].self, from: Data($0.utf8)) } ?? []
            return Ended(id: id, isCompleted: answer.text(row, 1) == "t", definition: definition, excused: Set(excused))
        }
        return (all, all.last?.id)
    }

    private func gaps(_ all: [Ended]) async throws -> [SagaGap] {
        var recorded: [NodeName: [SagaID: [String: String]]] = [:], gaps: [SagaGap] = []
        for node in engine.cluster.configuration.nodes.map(\.name) { recorded[node] = try await self.recorded(all.map(\.id), on: node) }
        for saga in all {
            for step in try await engine.saga(saga.definition).steps where !saga.excused.contains(step.name) {
                guard case .sql(let action) = step.action else { continue }
                let state = recorded[action.node]?[saga.id]?[step.name]
                if saga.isCompleted && state != "done" {
                    gaps.append(SagaGap(saga: saga.id, kind: .stepMissing, node: action.node, step: step.name, recorded: state))
                } else if !saga.isCompleted, state == "done", !action.undo.isEmpty {
                    gaps.append(SagaGap(saga: saga.id, kind: .undoMissing, node: action.node, step: step.name, recorded: state))
                }
            }
        }
        return gaps
    }
}
