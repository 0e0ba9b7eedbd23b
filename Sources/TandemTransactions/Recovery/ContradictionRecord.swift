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

    private static let patience = Duration.seconds(20)

    let cluster: Cluster

    /// R16: never silent, and once, whoever finds it and wherever it was written down before.
    ///
    /// - Parameters:
    ///   - contradiction: what was found.
    ///   - isRaised: whether the alarm was raised already.
    /// - Throws: `nodeUnreachable` and kin where it cannot be written down; the alarm was raised then.
    func report(_ contradiction: Contradiction, isRaised: Bool = false) async throws {
        for node in cluster.configuration.nodes.map(\.name) {
            // A node that does not answer may know it, too; then it is recorded twice, which is better than never.
            if (try? await isKnown(contradiction, on: node)) == true { return }
        }
        var isNew = true
        do { isNew = try await write(contradiction) } catch {
            if !isRaised { raise(contradiction) }
            throw error
        }
        if isNew && !isRaised { raise(contradiction) }
    }

    /// Counts it and says so, at once.
    func raise(_ contradiction: Contradiction) {
        TransactionRuntime.of(cluster).telemetry.alarm(contradiction.kind.rawValue)
        cluster.configuration.logger.critical(
            "a transaction is committed on some of its nodes only",
            metadata: [
                "tandem.transaction": "\(contradiction.transaction)", "tandem.node": "\(contradiction.missing)",
                "tandem.kind": "\(contradiction.kind.rawValue)", "tandem.committed": "\(contradiction.committed)",
            ])
    }

    private func isKnown(_ contradiction: Contradiction, on node: NodeName) async throws -> Bool {
        let parameters = [Self.found + contradiction.kind.rawValue, contradiction.transaction.description, contradiction.reason]
        return try await cluster.retentionQuery("SELECT \(Self.known)", parameters, on: node).text(0, 0) == "t"
    }

    private static let known = """
        EXISTS (SELECT FROM tandem.operation o WHERE o.transaction_id OPERATOR(pg_catalog.=) $2::pg_catalog.uuid AND o.what OPERATOR(pg_catalog.=) $1
                AND o.reason OPERATOR(pg_catalog.=) $3)
        """

    /// Several find it at the same time after a failover: the lock makes the second one see the row of the first.
    ///
    /// - Returns: whether it was not there.
    private func write(_ contradiction: Contradiction) async throws -> Bool {
        let parameters = ParameterBuffer(texts: [Self.found + contradiction.kind.rawValue, contradiction.transaction.description, contradiction.reason])
        let batch = Batch(
            segments: [
                [
                    Statement("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"),
                    Statement(
                        "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))",
                        parameters: ParameterBuffer(texts: [contradiction.transaction.description])),
                    Statement(
                        "INSERT INTO tandem.operation (what, transaction_id, reason) SELECT $1, $2::pg_catalog.uuid, $3 WHERE NOT \(Self.known)",
                        parameters: parameters),
                    Register.commit,
                ], [Register.rollback],
            ])
        let reply = try await cluster.runControl(contradiction.committed, batch, within: Self.patience).segments[0]
        if let error = reply.error { throw TandemError(error, node: contradiction.committed, phase: "retention") }
        return reply.results.dropFirst(2).first?.affectedRows == 1
    }

    /// The transactions that were found, accepted or not.
    func known(on nodes: some Collection<NodeName>) async throws -> Set<TransactionID> {
        var known: Set<TransactionID> = []
        for node in nodes {
            let rows = try await cluster.retentionQuery(
                "SELECT DISTINCT o.transaction_id FROM tandem.operation o WHERE pg_catalog.starts_with(o.what, '\(Self.found)')", [], on: node)
            for row in 0..<rows.rowCount { if let id = rows.text(row, 0).flatMap({ TransactionID($0) }) { known.insert(id) } }
        }
        return known
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

    /// Where a node was when its registers were last compared, and where it is.
    struct Compared {
        /// The timeline that it is on, and the one on which it was compared; nil where it never was.
        let timeline: UInt32
        let last: UInt32?
        /// Up to where what was committed lately was compared, in milliseconds of ids.
        let upTo: UInt64?
    }

    /// Asks the server itself: behind a pooler the connection does not tell.
    func compared(on node: NodeName) async throws -> Compared {
        let rows = try await cluster.retentionQuery(
            """
            SELECT pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_insert_lsn()), 1, 8),
                   (SELECT o.reason FROM tandem.operation o WHERE o.what OPERATOR(pg_catalog.=) 'timeline' ORDER BY o.id DESC LIMIT 1),
                   (SELECT o.reason FROM tandem.operation o WHERE o.what OPERATOR(pg_catalog.=) 'compared' ORDER BY o.id DESC LIMIT 1)
            """, [], on: node)
        guard let timeline = rows.text(0, 0).flatMap({ UInt32($0, radix: 16) }) else {
            throw TandemError(.protocolViolation, "the server does not tell its timeline", node: node)
        }
        // A13: of a server that a failover has left behind everything seems to be lost.
        guard let runtime = cluster.nodes[node], timeline >= runtime.note(timeline: timeline) else {
            throw TandemError(.identityMismatch, "the server was left behind by a failover", node: node)
        }
        return Compared(timeline: timeline, last: rows.text(0, 1).flatMap { UInt32($0) }, upTo: rows.text(0, 2).flatMap { UInt64($0) })
    }

    func note(timeline: UInt32, of node: NodeName) async throws { try await note("timeline", String(timeline), on: node) }
    func note(upTo milliseconds: UInt64, on node: NodeName) async throws { try await note("compared", String(milliseconds), on: node) }

    private func note(_ what: String, _ reason: String, on node: NodeName) async throws {
        _ = try await cluster.retentionQuery("INSERT INTO tandem.operation (what, reason) VALUES ($1, $2)", [what, reason], on: node)
    }

    private func write(_ what: String, _ transaction: TransactionID, _ reason: String, on node: NodeName) async throws {
        _ = try await cluster.retentionQuery(
            "INSERT INTO tandem.operation (what, transaction_id, reason) VALUES ($1, $2::pg_catalog.uuid, $3)", [what, transaction.description, reason],
            on: node)
    }
}
