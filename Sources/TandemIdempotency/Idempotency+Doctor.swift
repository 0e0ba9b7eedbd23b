import TandemCluster
import TandemCore
import TandemPostgres
public import TandemTransactions

/// What an examination of the node of the keys finds.
extension Idempotency {
    /// Pages that are looked at, at most about so many.
    private static let sample = 200.0
    /// For how long a key may stay after it has expired, in seconds, before it is said that nobody removes any.
    private static let lateness = 3600
    /// Fewer rows say nothing.
    private static let fewest = 1000

    /// Examines the keys: whether the node has their table, and whether anybody removes those that have expired. It reads a sample of the table, and changes nothing.
    ///
    /// - Returns: what was found; nothing where the node does not answer, which `Cluster.examine()` tells.
    /// - Throws: `CancellationError`.
    public func examine() async throws -> [DoctorReport.Finding] {
        func finding(_ status: DoctorReport.Status, _ message: String) -> DoctorReport.Finding { .init(node, "keys", status, message) }
        do {
            let rows = try await cluster[node].query(
                "SELECT seen, overdue, pages FROM tandem.idempotency_sample(\(Self.sample)::float8, \(Self.lateness)::int)", as: Int.self, Int.self, Int.self)
            guard let (seen, overdue, pages) = rows.first else { return [] }
            if seen >= Self.fewest && overdue * 2 > seen {
                return [
                    finding(
                        .notice,
                        "\(overdue) of \(seen) keys that were looked at have expired an hour ago or earlier, in a table of \(pages) pages: nobody removes them; see `tandem serve --only keys`"
                    )
                ]
            }
            return [finding(.ok, "\(seen) keys looked at, \(overdue) of them expired an hour ago or earlier")]
        } catch let error as TandemError where error.sqlState == .undefinedFunction || error.sqlState == .undefinedTable {
            return [finding(.notice, "the node has no table of idempotency keys; `tandem init` makes it")]
        } catch is TandemError {
            return []
        }
    }
}
