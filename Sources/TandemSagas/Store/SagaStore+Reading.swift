import TandemCore
import TandemPostgres
import TandemTransactions

/// What lists and descriptions ask.
extension SagaStore {
    private static let columns: SQL = """
        s.id, s.name, d.version, s.key, s.state, s.waits_for, CASE WHEN s.due_at > pg_catalog.clock_timestamp() THEN s.owner END,
        pg_catalog.to_char(s.started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        pg_catalog.to_char(s.ended_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), s.output, s.error
        """

    func summary(of id: SagaID) async throws -> SagaSummary {
        let result = try await node.result(
            of: """
                SELECT \(sql: Self.columns) FROM tandem.saga s LEFT JOIN tandem.saga_definition d ON d.hash = s.definition
                WHERE s.id = \(id.description)::uuid
                """, timeout: Self.patience)
        guard let summary = Self.summaries(result).first else {
            throw TandemError(.notFound, "there is no saga \(id)", node: node.name, nextStep: "`tandem saga ls` lists them")
        }
        return summary
    }

    static func summaries(_ result: ResultSet) -> [SagaSummary] {
        (0..<result.rowCount).compactMap { row in
            guard let id = result.text(row, 0).flatMap({ SagaID($0) }), let name = result.text(row, 1),
                let state = result.text(row, 4).flatMap({ SagaSummary.State(rawValue: $0) })
            else { return nil }
            return SagaSummary(
                id: id, name: name, version: result.text(row, 2).flatMap { Int($0) } ?? 0, key: result.text(row, 3), state: state,
                waitsFor: result.text(row, 5),
                owner: result.text(row, 6), startedAt: result.text(row, 7) ?? "", endedAt: result.text(row, 8), output: result.text(row, 9),
                error: result.text(row, 10))
        }
    }
}
