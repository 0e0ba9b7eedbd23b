import Logging
import TandemCluster
import TandemCore
import TandemPostgres

/// The contradictions that were found, as `tandem.operation` keeps them: each once, on the node where the transaction is committed, until somebody
/// accepts it.
struct ContradictionRecord {
    /// What `tandem.operation` says of one, before its kind; and of one that was accepted.
    private static let found = "found ", accepted = "accept"

    /// Rows of what was found and not accepted since.
    static let openRows = """
        FROM tandem.operation o WHERE pg_catalog.starts_with(o.what, '\(found)') AND NOT EXISTS (
            SELECT FROM tandem.operation a WHERE a.what OPERATOR(pg_catalog.=) '\(accepted)'
              AND a.transaction_id OPERATOR(pg_catalog.=) o.transaction_id AND a.id OPERATOR(pg_catalog.>) o.id)
        """

    let cluster: Cluster

    /// R16: never silent, and once.
    ///
    /// - Parameter contradiction: what was found.
    /// - Throws: `nodeUnreachable` and kin where it cannot be written down; it was logged and counted before.
    func report(_ contradiction: Contradiction) async throws {
        let what = Self.found + contradiction.kind.rawValue
        let isKnown =
            try? await cluster.retentionQuery(
                """
                SELECT FROM tandem.operation o WHERE o.transaction_id OPERATOR(pg_catalog.=) $2::pg_catalog.uuid AND o.what OPERATOR(pg_catalog.=) $1
                  AND o.reason OPERATOR(pg_catalog.=) $3
                """, [what, contradiction.transaction.description, contradiction.reason], on: contradiction.committed
            ).rowCount > 0
        if isKnown == true { return }
        TransactionRuntime.of(cluster).telemetry.alarm(contradiction.kind.rawValue)
        cluster.configuration.logger.critical(
            "a transaction is committed on some of its nodes only",
            metadata: [
                "tandem.transaction": "\(contradiction.transaction)", "tandem.node": "\(contradiction.missing)",
                "tandem.kind": "\(contradiction.kind.rawValue)", "tandem.committed": "\(contradiction.committed)",
            ])
        try await write(what, contradiction.transaction, contradiction.reason, on: contradiction.committed)
    }

    /// What was found on a node and not accepted since.
    func open(on node: NodeName) async throws -> [Contradiction] {
        let rows = try await cluster.retentionQuery("SELECT o.what, o.transaction_id, o.reason \(Self.openRows) ORDER BY o.id", [], on: node)
        return (0..<rows.rowCount).compactMap { row in
            // The reason begins with the node where it is not.
            guard let kind = rows.text(row, 0).flatMap({ Contradiction.Kind(rawValue: String($0.dropFirst(Self.found.count))) }),
                let transaction = rows.text(row, 1).flatMap({ TransactionID($0) }),
                let missing = rows.text(row, 2)?.split(separator: " ").first.flatMap({ try? NodeName(String($0)) })
            else { return nil }
            return Contradiction(transaction: transaction, kind: kind, committed: node, missing: missing)
        }
    }

    /// Notes that somebody has looked after a transaction.
    ///
    /// - Returns: whether the node knew it as a contradiction.
    func accept(_ transaction: TransactionID, reason: String, on node: NodeName) async throws -> Bool {
        guard try await open(on: node).contains(where: { $0.transaction == transaction }) else { return false }
        try await write(Self.accepted, transaction, reason, on: node)
        return true
    }

    /// The timeline on which a node was when its registers were last compared; nil where they never were.
    func timeline(of node: NodeName) async throws -> UInt32? {
        let rows = try await cluster.retentionQuery(
            "SELECT o.reason FROM tandem.operation o WHERE o.what OPERATOR(pg_catalog.=) 'timeline' ORDER BY o.id DESC LIMIT 1", [], on: node)
        return rows.rowCount > 0 ? rows.text(0, 0).flatMap { UInt32($0) } : nil
    }

    func note(timeline: UInt32, of node: NodeName) async throws {
        _ = try await cluster.retentionQuery("INSERT INTO tandem.operation (what, reason) VALUES ('timeline', $1)", [String(timeline)], on: node)
    }

    private func write(_ what: String, _ transaction: TransactionID, _ reason: String, on node: NodeName) async throws {
        _ = try await cluster.retentionQuery(
            "INSERT INTO tandem.operation (what, transaction_id, reason) VALUES ($1, $2::pg_catalog.uuid, $3)", [what, transaction.description, reason],
            on: node)
    }
}
