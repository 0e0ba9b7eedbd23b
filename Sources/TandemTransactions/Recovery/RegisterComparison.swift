import Logging
import TandemCluster
import TandemCore
import TandemPostgres

/// A15: before rows are removed, those of the nodes are compared. Each 'W' names the members of its transaction, and each of them has a 'W' of its own unless
/// a node lost the end of its log (an asynchronous failover) or somebody finished a branch past the register.
///
/// What is found is said in the log, written into `tandem.operation` of the node that has the 'W', and its rows stay for whoever looks into it.
struct RegisterComparison {
    private static let page = 2_000
    /// Contradictions that are looked at closely in one pass.
    private static let mostSuspects = 1_000

    let cluster: Cluster

    /// Compares the rows up to `horizon`, which no prepared branch needs, and reports what contradicts.
    ///
    /// - Returns: the transactions whose rows have to stay.
    func run(upTo horizon: TransactionID) async throws -> Set<TransactionID> {
        try await report(after: .make(milliseconds: 0, random: (0, 0)), upTo: horizon)
        let record = ContradictionRecord(cluster: cluster)
        var kept: Set<TransactionID> = []
        for node in cluster.namesByNumber.values { kept.formUnion(try await record.open(on: node).map(\.transaction)) }
        return kept
    }

    /// Compares the rows of some time, and records what contradicts. Parameters and errors are those of ``compare(after:upTo:)``.
    func report(after start: TransactionID, upTo horizon: TransactionID) async throws {
        let record = ContradictionRecord(cluster: cluster)
        for contradiction in try await compare(after: start, upTo: horizon).findings { try await record.report(contradiction) }
    }

    /// Compares the rows of some time.
    ///
    /// - Parameters:
    ///   - start: rows above it are compared,
    ///   - horizon: up to this one.
    /// - Returns: what contradicts, and how many 'W' rows were looked at.
    /// - Throws: `refusedBySafetyRule` where too much contradicts to look at each; `nodeUnreachable` and kin.
    func compare(after start: TransactionID, upTo horizon: TransactionID) async throws -> (findings: [Contradiction], rows: Int) {
        let names = cluster.namesByNumber
        var suspects: Set<TransactionID> = []
        var rows = 0
        for (id, node) in names {
            let (found, count) = try await contradictions(to: node, id, names, after: start, upTo: horizon)
            suspects.formUnion(found)
            rows += count
        }
        guard suspects.count <= Self.mostSuspects else {
            throw TandemError(
                .refusedBySafetyRule, "\(suspects.count) transactions seem to be committed on some of their nodes only",
                nextStep: "find out which node lost commits; no row is removed before that")
        }
        var findings: [Contradiction] = []
        for transaction in suspects.sorted() {
            // A plain read of one node after the other sees halves of what is just being finished: sessions, gids and rows are read in that order.
            findings += Self.findings(in: await Survey(cluster: cluster).evidence(of: transaction))
        }
        return (findings, rows)
    }

    /// What the nodes' evidence about one transaction contradicts.
    static func findings(in evidence: Evidence) -> [Contradiction] {
        guard let work = evidence.work else { return [] }
        let members = Set(evidence.nodes.flatMap(\.members).compactMap { evidence.names[$0] })
        return evidence.nodes.compactMap { node in
            guard members.contains(node.name), node.failure == nil, node.prepared == nil, !node.isOpen else { return nil }
            switch node.row {
            case .absent: return Contradiction(transaction: evidence.transaction, kind: .lost, committed: work.name, missing: node.name)
            case .tombstone: return Contradiction(transaction: evidence.transaction, kind: .mixed, committed: work.name, missing: node.name)
            // Behind its horizon a row may have been removed: too old to tell.
            case .work, .forgotten, .unreachable: return nil
            }
        }
    }

    /// The transactions that are committed on a node and not on another one of their members.
    private func contradictions(
        to node: NodeName, _ id: NodeID, _ names: [NodeID: NodeName], after start: TransactionID, upTo horizon: TransactionID
    ) async throws -> (found: Set<TransactionID>, rows: Int) {
        var found: Set<TransactionID> = []
        var count = 0
        var last = start
        while true {
            let rows = try await cluster.retentionQuery(
                """
                SELECT b.transaction_id, b.members FROM tandem.branch b
                WHERE b.node OPERATOR(pg_catalog.=) $3::pg_catalog.int2 AND b.kind OPERATOR(pg_catalog.=) 'W'
                  AND b.transaction_id OPERATOR(pg_catalog.>) $1::pg_catalog.uuid AND b.transaction_id OPERATOR(pg_catalog.<=) $2::pg_catalog.uuid
                ORDER BY b.transaction_id LIMIT \(Self.page)
                """, [last.description, horizon.description, id.description], on: node)
            var expected: [NodeID: [TransactionID]] = [:]
            for row in 0..<rows.rowCount {
                guard let transaction = rows.text(row, 0).flatMap({ TransactionID($0) }) else { continue }
                last = transaction
                for member in NodeID.list(rows.text(row, 1)) where member != id && names[member] != nil { expected[member, default: []].append(transaction) }
            }
            for (member, transactions) in expected {
                guard let name = names[member] else { continue }
                found.formUnion(try await without(transactions, member, on: name))
            }
            count += rows.rowCount
            if rows.rowCount < Self.page { return (found, count) }
        }
    }

    /// Which of some transactions have no 'W' on a node, and had none: behind its horizon a row may have been removed.
    private func without(_ transactions: [TransactionID], _ member: NodeID, on node: NodeName) async throws -> [TransactionID] {
        let rows = try await cluster.retentionQuery(
            """
            SELECT t.id FROM pg_catalog.unnest($1::pg_catalog.uuid[]) AS t (id)
            WHERE t.id OPERATOR(pg_catalog.>) (SELECT n.forgotten FROM tandem.node n)
              AND NOT EXISTS (SELECT FROM tandem.branch b WHERE b.transaction_id OPERATOR(pg_catalog.=) t.id
                              AND b.node OPERATOR(pg_catalog.=) $2::pg_catalog.int2 AND b.kind OPERATOR(pg_catalog.=) 'W')
            """, ["{\(transactions.map(\.description).joined(separator: ","))}", member.description], on: node)
        return (0..<rows.rowCount).compactMap { rows.text($0, 0).flatMap { TransactionID($0) } }
    }
}

extension NodeID {
    /// The numbers in an array of the server's, `{1,2}`.
    static func list(_ text: String?) -> [NodeID] {
        (text ?? "").split { "{},".contains($0) }.compactMap { Int16($0) }.compactMap { NodeID(rawValue: $0) }
    }
}
