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

    /// What a comparison has brought.
    struct Result {
        var contradictions: [Contradiction] = []
        /// 'W' rows that were looked at.
        var rows = 0
        /// Transactions that seemed to contradict and are not settled: prepared, open, or with a node that did not answer. They are to be looked at again.
        var unsettled: Set<TransactionID> = []
        /// Transactions that seem to contradict and were not looked at, for there are too many.
        var unexamined = 0
        /// The newest id that was seen, in milliseconds.
        var newest: UInt64?

        /// Why not all was looked at.
        var excess: TandemError? {
            guard unexamined > 0 else { return nil }
            return TandemError(
                .refusedBySafetyRule, "\(unexamined) more transactions seem to be committed on some of their nodes only",
                nextStep: "find out which node lost commits; no row is removed before that")
        }
    }

    /// Compares the rows up to `horizon`, which no prepared branch needs, and records what contradicts.
    ///
    /// - Returns: the transactions whose rows have to stay.
    /// - Throws: `nodeUnreachable` and kin where a node does not answer, `refusedBySafetyRule` where too much contradicts: no row may go then.
    func run(upTo horizon: TransactionID) async throws -> Set<TransactionID> {
        let record = ContradictionRecord(cluster: cluster)
        let nodes = cluster.namesByNumber.values
        let result = try await compare(after: .make(milliseconds: 0, random: (0, 0)), upTo: horizon, known: try await record.known(on: nodes))
        for contradiction in result.contradictions { try await record.report(contradiction) }
        if let excess = result.excess { throw excess }
        var kept = result.unsettled
        for node in nodes { kept.formUnion(try await record.open(on: node).map(\.transaction)) }
        return kept
    }

    /// Compares the rows of some time.
    ///
    /// - Parameters:
    ///   - start: rows above it are compared,
    ///   - horizon: up to this one.
    ///   - earlier: transactions that an earlier comparison left unsettled.
    ///   - known: transactions that need not be looked at again.
    ///   - nodes: the nodes that are compared; all by default.
    /// - Returns: what contradicts, and what has to be looked at again.
    /// - Throws: `nodeUnreachable` and kin where one of these nodes does not answer.
    func compare(
        after start: TransactionID, upTo horizon: TransactionID, unsettled earlier: Set<TransactionID> = [], known: Set<TransactionID> = [],
        among nodes: Set<NodeName>? = nil
    ) async throws -> Result {
        let names = cluster.namesByNumber.filter { nodes?.contains($0.value) ?? true }
        var suspects = earlier
        var result = Result()
        for (id, node) in names {
            let (found, count, last) = try await contradictions(to: node, id, names, after: start, upTo: horizon)
            suspects.formUnion(found)
            result.rows += count
            if count > 0 { result.newest = max(result.newest ?? 0, last.milliseconds) }
        }
        suspects.subtract(known)
        for transaction in suspects.sorted().prefix(Self.mostSuspects) {
            // A plain read of one node after the other sees halves of what is just being finished: sessions, gids and rows are read in that order.
            let evidence = await Survey(cluster: cluster).evidence(of: transaction)
            let found = Self.findings(in: evidence)
            result.contradictions += found
            if found.isEmpty && !Self.isSettled(evidence) { result.unsettled.insert(transaction) }
        }
        result.unexamined = max(0, suspects.count - Self.mostSuspects)
        return result
    }

    /// Whether nothing more can come to light about a transaction that was found not to contradict.
    private static func isSettled(_ evidence: Evidence) -> Bool {
        evidence.nodes.allSatisfy { $0.failure == nil && $0.prepared == nil && !$0.isOpen }
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
    ) async throws -> (found: Set<TransactionID>, rows: Int, last: TransactionID) {
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
            if rows.rowCount < Self.page { return (found, count, last) }
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
