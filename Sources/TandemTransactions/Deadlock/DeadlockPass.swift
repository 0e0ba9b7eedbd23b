import Logging
import Metrics
import TandemCluster
import TandemCore
import TandemPostgres

/// One look for deadlocks that no single node can see (D1 to D6): a transaction waits on one node for another, which waits for it on a second one.
///
/// Each node is asked whether anybody waits, and that is all while nobody does. Otherwise the waits of all nodes are read twice, the second time after the first
/// has ended everywhere, and what is the same in both is looked through for circles. The youngest transaction of each gives way: its statement is cancelled, where
/// the session, its transaction and its very wait are still the same.
struct DeadlockPass {
    /// How often the nodes are asked.
    static let interval = Duration.seconds(1)
    /// How long a node may take to say whether anybody waits, and then for what. One that takes longer is left out: the others' deadlocks do not wait for it.
    private static let probePatience = Duration.milliseconds(500), patience = Duration.seconds(1)

    let cluster: Cluster
    private var runtime: TransactionRuntime { .of(cluster) }

    init(cluster: Cluster) { self.cluster = cluster }

    /// Looks, and ends what it finds.
    ///
    /// - Returns: the deadlocks that were ended.
    @discardableResult
    func run() async -> Int {
        let waiting = await onEachNode { node in
            runtime.telemetry.probes.increment()
            runtime.deadlocks.probed()
            return try await ask(node, WaitList.probe, within: Self.probePatience).text(0, 0) == "t"
        }
        guard waiting.values.contains(true) else { return 0 }
        let first = await sample(Set(waiting.keys)), second = await sample(Set(waiting.keys))
        var graph = WaitGraph(first, confirmedBy: second)
        var ended = 0
        for deadlock in graph.deadlocks() where await end(deadlock) { ended += 1 }
        return ended
    }

    /// All waits of some nodes, and those of this process (D5).
    private func sample(_ nodes: Set<NodeName>) async -> [WaitEdge] {
        let own = await ownSessions()
        let edges = await onEachNode(nodes) { node in
            WaitList.edges(try await ask(node, WaitList.question, within: Self.patience), on: node, own: own[node] ?? [:])
        }
        return edges.values.flatMap(\.self) + runtime.permits.waits(cluster)
    }

    /// Which transaction each session of this process is in.
    private func ownSessions() async -> [NodeName: [Int32: TransactionID]] {
        var own: [NodeName: [Int32: TransactionID]] = [:]
        for lane in cluster.lanes {
            let sessions = await withCheckedContinuation { continuation in
                lane.reactor.execute { continuation.resume(returning: lane.pools.mapValues { $0.transactions }) }
            }
            // Behind a pooler libpq knows the number of no process, and every branch has its mark.
            for (node, transactions) in sessions where cluster.nodes[node]?.isPooled == false { own[node, default: [:]].merge(transactions) { $1 } }
        }
        return own
    }

    /// D6: makes the victim give way, if it still waits as it did; its caller is told why.
    private func end(_ deadlock: WaitGraph.Deadlock) async -> Bool {
        guard let session = deadlock.edge.session else { return false }
        let reason = Deadlock(deadlock.cycle), node = deadlock.edge.node
        let guarded = """
            FROM pg_catalog.pg_stat_activity a WHERE a.pid OPERATOR(pg_catalog.=) $1::pg_catalog.int4
              AND a.backend_start OPERATOR(pg_catalog.=) $2::pg_catalog.timestamptz AND a.application_name OPERATOR(pg_catalog.=) $3
              AND a.wait_event_type OPERATOR(pg_catalog.=) 'Lock'
              AND (pg_catalog.pg_has_role(a.usesysid, 'USAGE') OR pg_catalog.pg_has_role('pg_signal_backend', 'USAGE'))
              AND EXISTS (SELECT FROM pg_catalog.pg_locks l WHERE l.pid OPERATOR(pg_catalog.=) a.pid AND NOT l.granted
                          AND l.waitstart OPERATOR(pg_catalog.=) $4::pg_catalog.timestamptz)
            """
        let who = [String(session.process), session.start, session.application, session.waitStart]
        let cancel = Statement("SELECT pg_catalog.pg_cancel_backend(a.pid) \(guarded)", parameters: ParameterBuffer(texts: who))
        var segments = [[cancel]]
        let isOwn = runtime.isLive(deadlock.victim)
        if isOwn {
            runtime.deadlocks.choose(deadlock.victim, reason)
        } else {
            // Its own process asks why it was cancelled, so the answer is there before.
            let note = Statement(
                "INSERT INTO tandem.operation (what, transaction_id, reason) SELECT 'deadlock', $5::pg_catalog.uuid, $6 \(guarded)",
                parameters: ParameterBuffer(texts: who + [deadlock.victim.description, reason.json]))
            segments.insert([note], at: 0)
        }
        let reply = try? await cluster.runControl(node, Batch(segments: segments), within: Self.patience)
        let isCancelled = reply?.segments.last.map { $0.error == nil && $0.results.last?.text(0, 0) == "t" } ?? false
        guard isCancelled else {
            // Without an answer it may have been cancelled all the same.
            if isOwn, reply != nil { runtime.deadlocks.forget(deadlock.victim) }
            if let error = reply?.segments.lazy.compactMap(\.error).first {
                cluster.configuration.logger.error(
                    "a deadlock over several nodes cannot be ended; lockTimeout will",
                    metadata: ["tandem.node": "\(node)", "pg.sqlstate": "\(error.sqlState)", "pg.message": "\(error.message)"])
            }
            return false
        }
        runtime.telemetry.deadlocks.increment()
        cluster.configuration.logger.info(
            "a deadlock over several nodes was ended",
            metadata: ["tandem.transaction": "\(deadlock.victim)", "tandem.node": "\(node)", "tandem.reason": "\(reason.summary)"])
        return true
    }

    // MARK: Asking

    private func ask(_ node: NodeName, _ statement: Statement, within limit: Duration) async throws -> ResultSet {
        let reply = try await cluster.runControl(node, Batch([statement]), within: limit).only
        if let error = reply.error { throw TandemError(error, node: node) }
        guard let result = reply.results.last else { throw TandemError(.protocolViolation, "the server sent no answer", node: node) }
        return result
    }

    /// Asks all nodes at the same time; whoever does not answer has no waits that we know.
    private func onEachNode<Value: Sendable>(
        _ nodes: Set<NodeName>? = nil, _ body: @escaping @Sendable (NodeName) async throws -> Value
    ) async -> [NodeName: Value] {
        await withTaskGroup(of: (NodeName, Value?).self) { group in
            for node in nodes ?? Set(cluster.configuration.nodes.map(\.name)) { group.addTask { (node, try? await body(node)) } }
            return await group.reduce(into: [:]) { if let value = $1.1 { $0[$1.0] = value } }
        }
    }
}
