import Glibc
import TandemCluster
import TandemCore
import TandemFailpoints
import TandemPostgres

/// R17: removes rows that nobody needs any more, behind a horizon.
///
/// The order is what makes it safe. First the horizon is raised on every node and committed: from then on no row at or below it is written.
/// Then every transaction that may still have an older view of the horizon is waited for. Then the gids of all nodes are listed: what is listed
/// still needs its rows. Only then rows go. Removed earlier, a tombstone would be gone when its coordinator wakes up and commits, and a
/// 'W' would be missing when a member asks for it.
struct RetentionPass {
    private static let batch = 5_000
    private static let patience = Duration.seconds(20)
    private static let pollInterval = Duration.milliseconds(100)

    let cluster: Cluster

    /// How often rows are removed: a twentieth of the retention, between a second and ten minutes.
    var interval: Duration { min(max(cluster.configuration.retention / 20, .seconds(1)), .seconds(600)) }

    private var nodes: [NodeName] { cluster.configuration.nodes.map(\.name) }

    func run() async throws -> Int {
        // Most passes find nothing old, and end here.
        guard let oldest = Self.horizon(before: cluster.configuration.retention, below: nil), try await isAnythingOld(oldest) else { return 0 }
        // What is prepared now keeps the horizon below it: with no row yet, it would otherwise be held for an operator instead of being settled.
        guard let horizon = Self.horizon(before: cluster.configuration.retention, below: try await listed().min()) else { return 0 }
        guard try await isAnythingOld(horizon) else { return 0 }
        // Before the horizon is raised: behind it a missing row may have been removed, and would prove nothing.
        let contradicted = try await RegisterComparison(cluster: cluster).run(upTo: horizon)
        await Failpoints.pass(.beforeForget)
        // Clocks choose the horizon, never an outcome.
        for node in nodes { try await raise(horizon, on: node) }
        await Failpoints.pass(.afterHorizon)
        for node in nodes { try await waitForOlderViews(on: node) }
        let needed = try await listed().union(contradicted)
        var removed = 0
        for node in nodes { removed += try await delete(upTo: horizon, except: needed, on: node) }
        await Failpoints.pass(.afterForget)
        return removed
    }

    /// The transactions that have a prepared branch on some node; all nodes must answer.
    private func listed() async throws -> Set<TransactionID> {
        let (branches, unreachable) = await RecoveryPass(cluster: cluster, grace: .zero, isDryRun: true).list()
        if let missing = unreachable.first {
            throw TandemError(
                .nodeUnreachable, "rows are kept while a node cannot say what it still has prepared: \(missing.reason)", isRetrySafe: true, node: missing.node)
        }
        return Set(branches.map(\.gid.transaction))
    }

    /// The highest id that could have been made before the retention began and before `oldest`.
    private static func horizon(before retention: Duration, below oldest: TransactionID?) -> TransactionID? {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        let now = UInt64(time.tv_sec) * 1000 + UInt64(time.tv_nsec) / 1_000_000
        let age = UInt64(max(0, retention.wholeMilliseconds))
        guard now > age else { return nil }
        let start = min(now - age, max(1, oldest?.milliseconds ?? .max) - 1)
        return .make(milliseconds: start, random: (0, 0))
    }

    private func isAnythingOld(_ horizon: TransactionID) async throws -> Bool {
        for node in nodes {
            let text = "SELECT EXISTS (SELECT FROM tandem.branch WHERE transaction_id <= $1::pg_catalog.uuid)"
            let reply = try await cluster.retentionQuery(text, [horizon.description], on: node)
            if reply.text(0, 0) == "t" { return true }
        }
        return false
    }

    private func raise(_ horizon: TransactionID, on node: NodeName) async throws {
        _ = try await cluster.retentionQuery("SELECT tandem.raise_horizon($1::pg_catalog.uuid)", [horizon.description], on: node)
    }

    /// Waits until every transaction and every prepared branch of this database that was there when the horizon was raised is gone. No clock is
    /// involved. Sessions that are known to be in another database never write here, however long they go on.
    private func waitForOlderViews(on node: NodeName) async throws {
        let text = """
            SELECT 'v' || l.virtualxid FROM pg_catalog.pg_locks l
            WHERE l.locktype = 'virtualxid' AND l.granted AND l.pid <> pg_catalog.pg_backend_pid()
              AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.pid = l.pid AND a.datname <> pg_catalog.current_database())
            UNION ALL
            SELECT 'p' || p.transaction::text FROM pg_catalog.pg_prepared_xacts p WHERE p.database = pg_catalog.current_database()
            """
        func present() async throws -> Set<String> {
            let result = try await cluster.retentionQuery(text, [], on: node)
            return Set((0..<result.rowCount).compactMap { result.text($0, 0) })
        }
        var older = try await present()
        let deadline = ContinuousClock.now + Self.patience
        while !older.isEmpty {
            guard ContinuousClock.now < deadline else {
                throw TandemError(
                    .deadlineExceeded, "rows are kept while \(older.count) older transactions are open", isRetrySafe: true, node: node,
                    nextStep: "look for long transactions and forgotten prepared ones on the node")
            }
            try await Task.sleep(for: Self.pollInterval)
            older.formIntersection(try await present())
        }
    }

    private func delete(upTo horizon: TransactionID, except needed: Set<TransactionID>, on node: NodeName) async throws -> Int {
        let kept = "{\(needed.map(\.description).joined(separator: ","))}"
        var removed = 0
        while true {
            let result = try await cluster.retentionQuery(
                "SELECT tandem.forget($1::pg_catalog.uuid, $2::pg_catalog.uuid[], $3::pg_catalog.int4)",
                [horizon.description, kept, String(Self.batch)], on: node)
            let count = result.text(0, 0).flatMap { Int($0) } ?? 0
            removed += count
            if count < Self.batch { return removed }
        }
    }
}
