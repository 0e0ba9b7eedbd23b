import Metrics
import TandemCluster
import TandemCore
import TandemPostgres

/// R19: what each node has prepared, for metrics. Asked only where somebody listens.
struct GaugePass {
    private static let patience = Duration.seconds(5)

    let cluster: Cluster
    let telemetry: Telemetry

    func run() async {
        await withTaskGroup(of: Void.self) { group in
            for node in cluster.configuration.nodes { group.addTask { await look(at: node.name) } }
        }
    }

    private func look(at node: NodeName) async {
        guard let gauges = telemetry.nodes[node] else { return }
        let batch = Batch([Self.statement(cluster.configuration.name)])
        guard let reply = try? await cluster.runControl(node, batch, within: Self.patience).only, reply.error == nil, let result = reply.results.last,
            result.rowCount == 1
        else { return gauges.unreachable.record(1) }
        func number(_ column: Int) -> Double { result.text(0, column).flatMap { Double($0) } ?? 0 }
        gauges.unreachable.record(0)
        gauges.preparedMaximum.record(number(0))
        gauges.prepared.record(number(1))
        gauges.inDoubt.record(number(2))
        gauges.oldestInDoubt.record(number(3))
        gauges.oldestXID.record(number(4))
        gauges.foreign.record(number(5))
        gauges.blocked.record(number(6))
        gauges.contradictions.record(number(8))
        // Behind a pooler this process has no session that shows it.
        let others = cluster.nodes[node]?.isPooled == true ? 1 : 0
        let slots = PreparedSlots(maximum: Int(number(0)), taken: Int(number(1)), coordinators: Int(number(7)) + others)
        gauges.preparedShare.record(slots.share(own: 0, reserve: cluster.configuration.preparedReserve))
    }

    /// Slots of the server; of this database, what is the cluster's own and what is not.
    private static func statement(_ cluster: ClusterName) -> Statement {
        Statement(
            """
            SELECT pg_catalog.current_setting('max_prepared_transactions'), (SELECT pg_catalog.count(*) FROM pg_catalog.pg_prepared_xacts),
                   pg_catalog.count(*) FILTER (WHERE o.is_own),
                   pg_catalog.max(extract(epoch FROM pg_catalog.clock_timestamp() - o.prepared)) FILTER (WHERE o.is_own),
                   pg_catalog.max(pg_catalog.age(o.transaction)) FILTER (WHERE o.is_own), pg_catalog.count(*) FILTER (WHERE NOT o.is_own),
                   pg_catalog.sum((SELECT pg_catalog.count(*) FROM pg_catalog.pg_locks w
                                   WHERE w.locktype = 'transactionid' AND NOT w.granted AND w.transactionid = o.transaction)) FILTER (WHERE o.is_own),
                   (SELECT pg_catalog.count(DISTINCT l.objid) FROM pg_catalog.pg_locks l
                    WHERE l.locktype = 'advisory' AND l.classid = \(Presence.key) AND l.objsubid = 2),
                   (SELECT pg_catalog.count(DISTINCT o.transaction_id) \(ContradictionRecord.openRows))
            FROM (SELECT p.prepared, p.transaction, pg_catalog.starts_with(p.gid, $1) AS is_own FROM pg_catalog.pg_prepared_xacts p
                  WHERE p.database = pg_catalog.current_database()) o
            """, parameters: ParameterBuffer(texts: [GID.prefix(of: cluster)]))
    }
}
