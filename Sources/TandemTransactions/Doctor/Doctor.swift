import Foundation
public import TandemCluster
import TandemCore
import TandemPostgres

extension Cluster {
    /// Examines every node, and says what is wrong with it and how to mend that. It changes nothing, but prepares one empty transaction on each node and
    /// rolls it back, to see that it may.
    ///
    /// - Returns: what was found, also about nodes that cannot be reached.
    /// - Throws: `CancellationError`.
    @concurrent
    public func examine() async throws -> DoctorReport {
        let findings = try await withThrowingTaskGroup(of: (Int, [DoctorReport.Finding]).self) { group in
            for (index, node) in configuration.nodes.enumerated() {
                group.addTask { (index, await Doctor(cluster: self, configuration: node).examine()) }
            }
            var found: [(Int, [DoctorReport.Finding])] = []
            for try await answer in group { found.append(answer) }
            return found.sorted { $0.0 < $1.0 }.flatMap(\.1)
        }
        try Task.checkCancellation()
        return DoctorReport(findings: findings)
    }
}

/// Examines one node. Each check is a function of what the node has said.
struct Doctor {
    private static let patience = Duration.seconds(10)
    /// How far the clocks may be apart, in seconds, before it is said and before it is wrong.
    private static let clockNotice = 1.0, clockProblem = 30.0
    /// How old something prepared may be, in seconds.
    private static let preparedAge = 60.0
    /// How many transactions ago the oldest rows may have been kept, before it is said and before it is wrong.
    private static let holderNotice = 1_000_000, holderProblem = 50_000_000
    /// The name of the transaction that shows whether the role may prepare; no gid of a cluster begins so.
    static let trialPrefix = "tandem-doctor-"

    let cluster: Cluster
    let configuration: NodeConfiguration

    private var name: NodeName { configuration.name }

    func examine() async -> [DoctorReport.Finding] {
        let connection: Connection, pool: Pool
        do {
            guard let control = cluster.control[name] else { return [] }
            pool = control
            connection = try await control.lease(deadline: .now + Self.patience)
        } catch {
            let error = error as? TandemError
            return [finding("reachable", .problem, error.map(Self.reason) ?? "cancelled", sql: nil)]
        }
        defer { pool.reactor.execute { pool.release(connection) } }
        let before = Date().timeIntervalSince1970
        guard
            let reply = try? await connection.run(
                NodeFacts.question(prefix: GID.prefix(of: cluster.configuration.name)), deadline: .now + Self.patience)
        else { return [finding("reachable", .problem, "the node did not answer within \(Self.patience)", sql: nil)] }
        let after = Date().timeIntervalSince1970
        guard let facts = NodeFacts.read(reply.only) else {
            return [finding("reachable", .problem, reply.only.error?.message ?? "the node's answer cannot be read", sql: nil)]
        }
        let trial = facts.canTryToPrepare ? await tryToPrepare(connection) : nil
        return [finding("identity", .ok, identity)] + judge(facts, backend: connection.backend, trial: trial, before: before, after: after)
    }

    private static func reason(_ error: TandemError) -> String {
        "\(error.code): \(error.message)" + (error.nextStep.isEmpty ? "" : "; \(error.nextStep)")
    }

    /// What the facts say.
    ///
    /// - Parameters:
    ///   - facts: what the node said.
    ///   - backend: the server's process as libpq was told.
    ///   - trial: why the role could not prepare a transaction and finish it; `nil` where it could, or where nothing can be prepared.
    ///   - before: this machine's clock when the node was asked, in seconds since 1970.
    ///   - after: the same when it had answered.
    /// - Returns: one finding a check.
    func judge(_ facts: NodeFacts, backend: Int32, trial: TandemError?, before: Double, after: Double) -> [DoctorReport.Finding] {
        [
            version(facts), slots(facts), rights(facts, trial), transport(facts), timeouts(facts), durability(facts), standby(facts),
            pooler(facts, backend), ownPrepared(facts), contradictions(facts), foreignPrepared(facts), holder(facts), clock(facts, before, after),
        ].compactMap { $0 }
    }

    private func finding(_ check: String, _ status: DoctorReport.Status, _ message: String, sql: String? = nil) -> DoctorReport.Finding {
        DoctorReport.Finding(name, check, status, message, sql: sql)
    }

    private var identity: String {
        guard let identity = cluster.nodes[name]?.identity else { return "not known" }
        return
            "node \(identity.id) of \(identity.cluster), system \(identity.systemIdentifier), timeline \(identity.timeline), schema \(identity.schemaVersion)"
    }

    // MARK: Checks

    private func version(_ facts: NodeFacts) -> DoctorReport.Finding {
        let text = "PostgreSQL \(facts.version / 10_000).\(facts.version % 10_000)"
        return facts.version >= 150_000 ? finding("version", .ok, text) : finding("version", .problem, "\(text); 15 or later is needed")
    }

    /// R18: the slots of the server against what its coordinators may take.
    private func slots(_ facts: NodeFacts) -> DoctorReport.Finding {
        let connections = configuration.pool.maximum
        // Behind a pooler this process has no session that shows it.
        let coordinators = facts.coordinators + (configuration.pooler == .transaction ? 1 : 0)
        let wanted = (connections + cluster.configuration.preparedReserve) * max(1, coordinators)
        let mend = "ALTER SYSTEM SET max_prepared_transactions = \(max(wanted, 100)); -- then restart the server"
        let slots = PreparedSlots(maximum: facts.maximumPrepared, taken: facts.prepared, coordinators: coordinators)
        let share = slots.share(own: 0, reserve: cluster.configuration.preparedReserve)
        let text = "\(facts.prepared) of \(facts.maximumPrepared) slots taken, \(coordinators) coordinators, a share of \(share) each"
        if facts.maximumPrepared == 0 { return finding("slots", .problem, "max_prepared_transactions is 0: nothing can be prepared", sql: mend) }
        if facts.prepared * 10 >= facts.maximumPrepared * 7 {
            return finding("slots", .problem, text, sql: "SELECT gid, owner, database, prepared FROM pg_prepared_xacts ORDER BY prepared;")
        }
        if share < connections { return finding("slots", .notice, "\(text), fewer than the \(connections) connections of the pool", sql: mend) }
        return finding("slots", .ok, text)
    }

    private func rights(_ facts: NodeFacts, _ trial: TandemError?) -> DoctorReport.Finding {
        if !facts.missingRights.isEmpty {
            let sql = (try? CoreSchema.grants(to: configuration.role ?? facts.role))?.joined(separator: "; ")
            return finding("rights", .problem, "the role lacks \(facts.missingRights.joined(separator: ", "))", sql: sql)
        }
        if let trial {
            return finding(
                "rights", .problem, "the role cannot prepare a transaction and finish it: \(trial.message) (\(trial.sqlState?.rawValue ?? "no SQLSTATE"))")
        }
        return finding(
            "rights", .ok, facts.canTryToPrepare ? "the role can prepare a transaction and finish it" : "the role has its rights; nothing was prepared")
    }

    private func transport(_ facts: NodeFacts) -> DoctorReport.Finding {
        if facts.isSocket { return finding("tls", .ok, "a socket of this machine") }
        if facts.isEncrypted {
            let mode = TransportSecurity(of: configuration.conninfo).mode
            if mode == "verify-full" || facts.isLoopback { return finding("tls", .ok, "encrypted, sslmode \(mode)") }
            return finding("tls", .notice, "encrypted, but sslmode \(mode) does not check who answers: use sslmode=verify-full in the conninfo")
        }
        if facts.isLoopback { return finding("tls", .ok, "not encrypted, on loopback") }
        return finding("tls", .problem, "not encrypted: use sslmode=verify-full in the conninfo", sql: "ALTER SYSTEM SET ssl = on; SELECT pg_reload_conf();")
    }

    private func timeouts(_ facts: NodeFacts) -> DoctorReport.Finding {
        if configuration.pooler == .transaction { return finding("timeouts", .ok, "set with each transaction") }
        let all = [
            ("lock_timeout", facts.lockTimeout), ("statement_timeout", facts.statementTimeout), ("idle_in_transaction_session_timeout", facts.idleTimeout),
        ]
        let text = all.map { "\($0) \($1)" }.joined(separator: ", ")
        let missing = all.filter { $0.1 == "0" }.map(\.0)
        if missing.isEmpty { return finding("timeouts", .ok, text) }
        return finding("timeouts", .problem, "no limit: \(missing.joined(separator: ", ")); deadlocks over several nodes end by lock_timeout")
    }

    private func durability(_ facts: NodeFacts) -> DoctorReport.Finding {
        let off = [("fsync", facts.isFsync), ("full_page_writes", facts.isFullPageWrites)].filter { !$0.1 }.map(\.0)
        if !off.isEmpty {
            return finding(
                "durability", .problem, "\(off.joined(separator: " and ")) off: after a crash nothing is sure, and a decision may be gone",
                sql: off.map { "ALTER SYSTEM SET \($0) = on;" }.joined(separator: " ") + " SELECT pg_reload_conf();")
        }
        if ["off", "local"].contains(facts.synchronousCommit) {
            return finding(
                "durability", .notice,
                "synchronous_commit is \(facts.synchronousCommit) for this role: Tandem's own commits wait all the same, those of others do not",
                sql: (try? quoteIdentifier(facts.role)).map { "ALTER ROLE \($0) SET synchronous_commit = on;" })
        }
        return finding("durability", .ok, "fsync on, synchronous_commit \(facts.synchronousCommit)")
    }

    private func standby(_ facts: NodeFacts) -> DoctorReport.Finding {
        if facts.standbyNames.isEmpty {
            if facts.standbys == 0 { return finding("replication", .ok, "no standby") }
            return finding("replication", .notice, "\(facts.standbys) asynchronous standbys: a failover may lose acknowledged transactions; see `tandem audit`")
        }
        if facts.standbys == 0 {
            return finding(
                "replication", .problem, "synchronous_standby_names is set and no standby is connected: every commit waits",
                sql: "-- gives the guarantee up until the standby is back: ALTER SYSTEM SET synchronous_standby_names = ''; SELECT pg_reload_conf();")
        }
        return finding("replication", .ok, "\(facts.standbys) standbys, synchronous: \(facts.standbyNames)")
    }

    private func pooler(_ facts: NodeFacts, _ backend: Int32) -> DoctorReport.Finding {
        switch (configuration.pooler, facts.backend == backend) {
        case (.none, true): finding("pooler", .ok, "none")
        case (.none, false):
            finding(
                "pooler", .problem,
                "a pooler stands between, and the configuration does not say so: set `pooler: transaction` for the node, or connect to the server itself")
        case (.transaction, false): finding("pooler", .ok, "one in transaction mode, as the configuration says")
        case (.transaction, true):
            finding("pooler", .notice, "none was found, though the configuration says so: without it transactions take fewer messages and cancelling is safer")
        }
    }

    private func ownPrepared(_ facts: NodeFacts) -> DoctorReport.Finding {
        guard let oldest = facts.oldestOwn, oldest >= Self.preparedAge else { return finding("in doubt", .ok, "nothing for longer than a minute") }
        return finding(
            "in doubt", .problem, "a branch has been prepared for \(Int(oldest)) s: `tandem tx ls`, `tandem recover --once`",
            sql: "SELECT * FROM tandem.in_doubt;")
    }

    /// R16: what recovery, clean-up and the comparison of the registers have found.
    private func contradictions(_ facts: NodeFacts) -> DoctorReport.Finding {
        guard facts.contradictions > 0 else { return finding("contradictions", .ok, "none was found") }
        return finding(
            "contradictions", .problem,
            "\(facts.contradictions) transactions are committed here and not on all of their nodes: compare their data (`tandem tx ls`), then `tandem audit --accept`",
            sql: "SELECT at, what, transaction_id, reason FROM tandem.operation WHERE what LIKE 'found %' ORDER BY id;")
    }

    private func foreignPrepared(_ facts: NodeFacts) -> DoctorReport.Finding? {
        guard let foreign = facts.foreign, foreign.age >= Self.preparedAge else { return nil }
        let quoted = (try? quoteLiteral(foreign.gid)) ?? "'...'"
        if foreign.gid.hasPrefix(Self.trialPrefix) {
            return finding(
                "foreign", .notice, "a doctor that was interrupted left \(foreign.gid), an empty transaction on which nothing depends",
                sql: "ROLLBACK PREPARED \(quoted);")
        }
        return finding(
            "foreign", .notice, "\(foreign.gid) is prepared for \(Int(foreign.age)) s, and not by this cluster: its owner has to finish it",
            sql: "-- only if its owner says so: ROLLBACK PREPARED \(quoted);")
    }

    private func holder(_ facts: NodeFacts) -> DoctorReport.Finding {
        guard let holder = facts.holder, holder.age >= Self.holderNotice else { return finding("cleaning", .ok, "nobody keeps old rows") }
        return finding(
            "cleaning", holder.age >= Self.holderProblem ? .problem : .notice,
            "\(holder.what) keeps rows of the last \(holder.age) transactions from being removed")
    }

    private func clock(_ facts: NodeFacts, _ before: Double, _ after: Double) -> DoctorReport.Finding {
        // The node read its clock somewhere between.
        let offset = facts.clock < before ? facts.clock - before : facts.clock > after ? facts.clock - after : 0
        let text = "\((offset * 1000).rounded() / 1000) s from this machine's"
        if abs(offset) >= Self.clockProblem {
            return finding("clock", .problem, "\(text): ids are made by clocks, and the retention forgets by them; synchronise both")
        }
        return finding("clock", abs(offset) >= Self.clockNotice ? .notice : .ok, text)
    }

    // MARK: Preparing

    /// Prepares an empty transaction and rolls it back, as the role that owns branches.
    private func tryToPrepare(_ connection: Connection) async -> TandemError? {
        guard let node = cluster.nodes[name] else { return nil }
        let gid = Self.trialPrefix + UUID().uuidString.lowercased()
        var work = [Statement("BEGIN"), Statement("SELECT pg_catalog.pg_current_xact_id()")]
        if let role = node.quotedRole { work.append(Statement("SET LOCAL ROLE \(role)")) }
        work.append(Statement("PREPARE TRANSACTION '\(gid)'", isPrepared: false))
        let end = node.finishing([[Statement("ROLLBACK PREPARED '\(gid)'", isPrepared: false)]])
        do {
            let reply = try await connection.run(Batch(segments: [work] + end.segments), deadline: .now + Self.patience)
            guard let error = reply.segments.lazy.compactMap(\.error).first else { return nil }
            // A failed block stays open on the connection.
            _ = try? await connection.run(Batch([Register.rollback]), deadline: .now + Self.patience)
            await remove(gid, node)
            return TandemError(error, node: name)
        } catch {
            await remove(gid, node)
            return TandemError(.connectionLost, "no answer", node: name)
        }
    }

    /// Rolls a trial back that may be prepared or not, over another connection: nothing depends on it. One that stays all the same is found by the next doctor.
    func remove(_ gid: String, _ node: NodeRuntime) async {
        let end = node.finishing([[Statement("ROLLBACK PREPARED '\(gid)'", isPrepared: false)]])
        _ = try? await cluster.runControlToTheEnd(name, Batch(segments: end.segments), within: Self.patience)
    }
}
