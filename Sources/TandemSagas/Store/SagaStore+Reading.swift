import Foundation
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
                """, timeout: patience)
        guard let summary = Self.summaries(result).first else {
            throw TandemError(.notFound, "there is no saga \(id)", node: node.name, nextStep: "`tandem saga ls` lists them")
        }
        return summary
    }

    /// How a saga stands, and the text of its definition.
    func definition(of id: SagaID) async throws -> (summary: SagaSummary, definition: String?) {
        let summary = try await summary(of: id)
        let body = try await node.result(
            of: """
                SELECT d.body FROM tandem.saga s JOIN tandem.saga_definition d ON d.hash = s.definition
                WHERE s.id = \(id.description)::uuid AND NOT d.is_code
                """, timeout: patience)
        return (summary, body.only)
    }

    /// What is to be done, over all workers.
    struct Backlog: Sendable {
        /// Sagas that somebody runs, or that are run again at a time.
        let open: Int
        /// Sagas that need an operator.
        let stuck: Int
        /// For how long the first of them has been due, in seconds, and nobody has taken it.
        let overdue: Double
    }

    /// Asks for the backlog; both answers come from small indexes.
    func backlog() async throws -> Backlog {
        let result = try await node.result(
            of: """
                SELECT (SELECT count(*) FROM tandem.saga WHERE due_at IS NOT NULL),
                    (SELECT count(*) FROM tandem.saga WHERE state IN ('stuck_forward', 'stuck_compensation')),
                    (SELECT greatest(0, coalesce(extract(epoch FROM pg_catalog.clock_timestamp() - min(due_at)), 0)) FROM tandem.saga WHERE due_at IS NOT NULL)
                """, timeout: patience)
        return Backlog(
            open: result.text(0, 0).flatMap { Int($0) } ?? 0, stuck: result.text(0, 1).flatMap { Int($0) } ?? 0,
            overdue: result.text(0, 2).flatMap { Double($0) } ?? 0)
    }

    func inputAndCourse(of id: SagaID) async throws -> (input: String, courses: [SagaRun.Course]) {
        let result = try await node.result(of: "SELECT input, course FROM tandem.saga WHERE id = \(id.description)::uuid", timeout: patience)
        guard result.rowCount > 0 else { return ("null", []) }
        let courses = result.text(0, 1).flatMap { try? JSONDecoder().decode([SagaRun.Course].self, from: Data($0.utf8)) }
        return (result.text(0, 0) ?? "null", courses ?? [])
    }

    /// A saga's journal for a reader, the oldest entry first.
    func entries(of id: SagaID) async throws -> [SagaDescription.Entry] {
        let result = try await node.result(
            of: """
                SELECT pg_catalog.to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), what, step, attempt, error, who
                FROM tandem.saga_journal WHERE saga_id = \(id.description)::uuid ORDER BY id
                """, timeout: patience)
        return (0..<result.rowCount).map { row in
            SagaDescription.Entry(
                at: result.text(row, 0) ?? "", what: result.text(row, 1) ?? "", step: result.text(row, 2), attempt: result.text(row, 3).flatMap { Int($0) },
                detail: result.text(row, 4), who: result.text(row, 5))
        }
    }

    func list(_ states: [String], isWaiting: Bool, name: String?, age: Duration?, limit: Int) async throws -> [SagaSummary] {
        Self.summaries(
            try await node.result(
                of: """
                    SELECT \(sql: Self.columns) FROM tandem.saga s LEFT JOIN tandem.saga_definition d ON d.hash = s.definition
                    WHERE s.state = ANY (\(states)::text[]) AND (NOT \(isWaiting)::bool OR s.waits_for IS NOT NULL)
                      AND (\(name)::text IS NULL OR s.name = \(name))
                      AND (\(age?.milliseconds)::int8 IS NULL OR s.started_at >= pg_catalog.clock_timestamp() - \(age?.milliseconds)::int8 * interval '1 ms')
                    ORDER BY s.id DESC LIMIT \(limit)::int
                    """, timeout: patience))
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
