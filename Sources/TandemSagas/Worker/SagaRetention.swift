import TandemCluster
import TandemCore
import TandemPostgres
import TandemTransactions

/// Removes sagas that have ended long ago, with the records of their steps.
///
/// First the records on all nodes, then the saga: where that is interrupted the saga is still there, and is removed the next time. A worker that was stopped for longer
/// than the retention and wakes up would find no record that bars it; the retention is days.
struct SagaRetention {
    /// How many at a time: no statement holds its locks for long.
    private static let batch = 500

    let engine: SagaEngine

    /// Removes all that is due.
    ///
    /// - Returns: how many sagas.
    /// - Throws: `nodeUnreachable` and kin: a node that does not answer keeps its records, and the home node the sagas.
    @discardableResult
    func run() async throws -> Int {
        var removed = 0
        while true {
            let count = try await once()
            removed += count
            engine.telemetry.removed(count)
            if count < Self.batch { return removed }
            try Task.checkCancellation()
        }
    }

    private func once() async throws -> Int {
        let home = engine.store.node
        let due = try await home.result(
            of: """
                SELECT id FROM tandem.saga WHERE ended_at < pg_catalog.clock_timestamp() - \(engine.options.retention.milliseconds)::int8 * interval '1 ms'
                ORDER BY ended_at LIMIT \(Self.batch)::int
                """)
        let ids = (0..<due.rowCount).compactMap { due.text($0, 0) }
        if ids.isEmpty { return 0 }
        for node in engine.cluster.configuration.nodes.map(\.name) {
            _ = try await engine.cluster[node].result(
                of: """
                    WITH locks AS (DELETE FROM tandem.saga_lock WHERE saga_id = ANY (\(ids)::uuid[]))
                    DELETE FROM tandem.saga_step WHERE saga_id = ANY (\(ids)::uuid[])
                    """)
        }
        _ = try await home.result(
            of: """
                WITH journal AS (DELETE FROM tandem.saga_journal WHERE saga_id = ANY (\(ids)::uuid[])),
                    signals AS (DELETE FROM tandem.saga_signal WHERE saga_id = ANY (\(ids)::uuid[]))
                DELETE FROM tandem.saga WHERE id = ANY (\(ids)::uuid[]) AND ended_at IS NOT NULL
                """)
        return ids.count
    }
}
