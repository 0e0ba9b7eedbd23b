import Foundation
import TandemCluster
import TandemCore
import TandemPostgres
import TandemTransactions

/// What is there when everything is over, and what it means.
extension ChaosRun {
    func conclude(
        _ cluster: Cluster, _ watch: PreparedWatch, _ history: HistoryWriter, counts: [FaultKind: Int], died: [Int], left: Int
    ) async throws -> ChaosResult {
        progress("reading what is there, and checking it")
        var result = ChaosResult(options)
        // This run's own history is one of them.
        let files = try FileManager.default.contentsOfDirectory(atPath: folder).filter { $0.hasPrefix("history-") }.sorted().map { "\(folder)/\($0)" }
        let merged = try HistoryMerge(files)
        (result.transactions, result.acknowledged, result.rolled_back) = (merged.sent, merged.acknowledged, merged.rolledBack)
        let unknown = merged.unknown
        result.unknown = unknown.count
        if options.workload == .saga { return try await conclude(cluster, watch, merged, counts: counts, died: died, left: left, result) }
        let outcomes = try await outcomes(of: unknown, cluster)
        result.unknown_committed = outcomes.values.count { $0 == .committed }
        result.unknown_after_recovery = outcomes.values.count { $0 == .inDoubt }
        try history.write(outcomes.sorted { $0.key < $1.key }.map { HistoryLine.outcome($0.key, $0.value) })
        let run = try runLine(cluster)
        try merged.write(to: path, run: run)
        // Where every append to a key is lost there is no row to read, which has to be said.
        let used = options.workload == .listAppend ? try HistoryCheck(path: path).history().keys.map(Int.init) : []
        for (index, node) in cluster.configuration.nodes.map(\.name).enumerated() {
            let own = used.filter { ListAppendWorkload.node(of: $0, among: options.nodes) == index }
            try history.write(try await final(cluster, node, keys: own))
        }
        try HistoryMerge(files).write(to: path, run: run)
        let check = try HistoryCheck(path: path)
        let report = try check.run()
        let more =
            deaths(died)
            + (try await contradictions(cluster))
            + (options.workload == .listAppend ? OutcomeCheck(history: try check.history()).findings(outcomes) : [])
        result.findings = report.findings + more
        result.violations = report.violations + more.count
        // A vote may arrive late.
        result.in_doubt_after = max(left, try await watch.untilNothingIsPrepared(within: .seconds(5)))
        result.recovery_seconds = .init(watch.seconds)
        for (kind, count) in counts { result.faults[kind.rawValue] = count }
        result.judge(asked: options.faults)
        return result
    }

    private func deaths(_ died: [Int]) -> [Finding] {
        died.map {
            Finding(kind: "coordinator-died", isViolation: true, message: "coordinator \($0 + 1) ended by itself, or not when it was told to: \(log(of: $0))")
        }
    }

    /// Sagas end after the load, wherever they stood; then their effects are compared with their ends, and these with what clients were told.
    private func conclude(
        _ cluster: Cluster, _ watch: PreparedWatch, _ merged: HistoryMerge, counts: [FaultKind: Int], died: [Int], left: Int, _ sofar: ChaosResult
    ) async throws -> ChaosResult {
        var result = sofar
        let checker = SagaChecker(cluster: cluster, nodes: cluster.configuration.nodes.map(\.name))
        var findings = deaths(died) + (try await checker.finish()) + (try await checker.check())
        let states = try await checker.states()
        for (saga, isCommitted) in merged.told {
            let state = states[saga.description] ?? "not there"
            // One that could not be started is as good as one that turned back.
            let expected: Set = isCommitted ? ["completed"] : ["compensated", "not there"]
            if !expected.contains(state) {
                findings.append(
                    Finding(kind: "told-wrong", isViolation: true, message: "the saga with the key \(saga) is \(state), and its client was told another end"))
            }
        }
        result.unknown_committed = merged.unknown.count { states[$0.description] == "completed" }
        result.unknown_after_recovery = merged.unknown.count { saga in states[saga.description].map { $0 != "completed" && $0 != "compensated" } ?? false }
        try merged.write(to: path, run: try runLine(cluster))
        result.findings = findings + (try await contradictions(cluster))
        result.violations = result.findings.count
        result.in_doubt_after = max(left, try await watch.untilNothingIsPrepared(within: .seconds(5)))
        result.recovery_seconds = .init(watch.seconds)
        for (kind, count) in counts { result.faults[kind.rawValue] = count }
        result.judge(asked: options.faults)
        return result
    }

    /// No fault of a run takes anything away that was durable, so whatever the registers contradict is wrong, be it in the data or in the search for it.
    private func contradictions(_ cluster: Cluster) async throws -> [Finding] {
        let audit = try await cluster.audit().findings, known = await cluster.contradictions().found
        return (audit + known.filter { !audit.contains($0) }).map {
            Finding(kind: "contradiction", isViolation: true, message: "\($0.transaction) is committed on \($0.committed), and \($0.reason)")
        }
    }

    /// The last words of a coordinator.
    private func log(of number: Int) -> String {
        String(decoding: (FileManager.default.contents(atPath: "\(folder)/coordinator-\(number).log") ?? Data()).suffix(500), as: UTF8.self)
    }

    /// The first line of a history: what the run was made of, so that it can be repeated.
    private func runLine(_ cluster: Cluster) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        let options = String(decoding: try encoder.encode(options), as: UTF8.self)
        let nodes = cluster.configuration.nodes.map { "\"\($0.name)\"" }.joined(separator: ",")
        return
            #"{"process":-1,"type":"info","f":"run","seed":\#(self.options.seed),"workload":"\#(self.options.workload.rawValue)","nodes":[\#(nodes)],"options":\#(options)}"#
    }

    /// What became of transactions whose callers were told nothing, as anybody can ask.
    private func outcomes(of unknown: [TransactionID], _ cluster: Cluster) async throws -> [TransactionID: Outcome] {
        try await withThrowingTaskGroup(of: (TransactionID, Outcome).self) { group in
            var rest = unknown[...], outcomes: [TransactionID: Outcome] = [:]
            func add() {
                guard let next = rest.popFirst() else { return }
                group.addTask { (next, try await cluster.outcome(of: next, within: Self.outcomeLimit)) }
            }
            for _ in 0..<8 { add() }
            while let (id, outcome) = try await group.next() {
                outcomes[id] = outcome
                add()
            }
            return outcomes
        }
    }

    /// What is on a node, as lines of the history; `keys` are those of lists that were used there.
    private func final(_ cluster: Cluster, _ node: NodeName, keys: [Int]) async throws -> [String] {
        switch options.workload {
        case .saga: return []
        case .listAppend:
            let rows = try await Self.ask(cluster, node, "SELECT key, array_to_json(elements) FROM chaos_list ORDER BY key")
            var lists = Dictionary(uniqueKeysWithValues: keys.map { ($0, "[]") })
            for row in 0..<rows.rowCount {
                if let key = rows.text(row, 0).flatMap({ Int($0) }) { lists[key] = rows.text(row, 1) ?? "[]" }
            }
            return lists.sorted { $0.key < $1.key }.map { HistoryLine.final("txn", node: node, #"[["r",\#($0.key),\#($0.value)]]"#) }
        case .bank:
            let accounts = try await Self.ask(cluster, node, "SELECT json_agg(balance ORDER BY id) FROM chaos_account")
            let ledger = try await Self.ask(cluster, node, "SELECT json_build_array(transaction_id, account, amount) FROM chaos_ledger ORDER BY transaction_id")
            return [HistoryLine.final("balances", node: node, accounts.text(0, 0) ?? "[]")]
                + (0..<ledger.rowCount).map { HistoryLine.final("ledger", node: node, ledger.text($0, 0) ?? "[]") }
        }
    }

    static func ask(_ cluster: Cluster, _ node: NodeName, _ sql: String) async throws -> ResultSet {
        let reply = try await cluster.runControl(node, Batch([Statement(sql, isPrepared: false)]), within: patience).only
        if let error = reply.error { throw TandemError(error, node: node, phase: "chaos") }
        guard let result = reply.results.last else { throw TandemError(.protocolViolation, "the server sent no answer", node: node) }
        return result
    }
}
