import Foundation
import TandemCluster
import TandemCore
import TandemPostgres
import TandemSagas
import TandemTransactions

/// Looks at what sagas have left: all ended, each effect once or undone once, and what clients were told.
struct SagaChecker {
    /// How long sagas have to end once everything is healed.
    private static let limit = Duration.seconds(90)

    let cluster: Cluster
    let nodes: [NodeName]

    /// Runs what is left, until every saga has ended.
    ///
    /// - Returns: those that have not, or are stuck.
    /// - Throws: `nodeUnreachable` and kin; `CancellationError`.
    func finish() async throws -> [Finding] {
        let sagas = try Sagas(cluster, options: SagaWorkload.options(32))
        return try await withThrowingTaskGroup(of: [Finding]?.self) { group in
            group.addTask {
                try await sagas.run()
                return nil
            }
            group.addTask {
                let deadline = ContinuousClock.now + Self.limit
                while true {
                    let open = try await sagas.list([.running, .compensating], limit: 10)
                    if open.isEmpty { break }
                    if ContinuousClock.now >= deadline {
                        return open.map {
                            Finding(
                                kind: "saga-not-ended", isViolation: true,
                                message: "\($0.id) is \($0.state.rawValue), and waits for \($0.waitsFor ?? "nothing")")
                        }
                    }
                    try await Task.sleep(for: .milliseconds(100))
                }
                return try await sagas.list([.stuckForward, .stuckCompensation], limit: 10).map {
                    Finding(kind: "saga-stuck", isViolation: true, message: "\($0.id) is \($0.state.rawValue): \($0.error ?? "")")
                }
            }
            defer { group.cancelAll() }
            while let next = try await group.next() {
                if let next { return next }
            }
            return []
        }
    }

    /// How each saga stands, by the key that its client gave it.
    func states() async throws -> [String: String] {
        let result = try await cluster[nodes[0]].query("SELECT json_object_agg(key, state)::text FROM tandem.saga WHERE key IS NOT NULL", as: String?.self)
        guard let text = result.first ?? nil, case .object(let entries)? = try? JSON(reading: text) else { return [:] }
        return Dictionary(entries.compactMap { key, state in if case .string(let state) = state { (key, state) } else { nil } }) { first, _ in first }
    }

    /// Compares effects with the sagas' ends, and balances with effects.
    func check() async throws -> [Finding] {
        var findings: [Finding] = [], effects: [String: Int] = [:], sum = 0, rows = 0
        for node in nodes {
            let here = try await Self.list(
                cluster, node, "SELECT json_build_array(saga_id, step || ' ' || op, count(*)) FROM chaos_effect GROUP BY saga_id, step, op")
            for entry in here {
                guard case .array(let values) = entry, values.count == 3, case .string(let saga) = values[0], case .string(let step) = values[1],
                    case .number(let count) = values[2]
                else { continue }
                rows += 1
                effects["\(saga) \(step)", default: 0] += Int(count) ?? 0
            }
            let total = try await cluster[node].query(
                "SELECT sum(balance)::int8, (SELECT coalesce(sum(amount), 0)::int8 FROM chaos_effect) FROM chaos_account", as: Int.self, Int.self)
            guard let (balance, amount) = total.first else { continue }
            sum += balance
            if balance != amount {
                findings.append(Finding(kind: "balance", isViolation: true, message: "\(node): accounts hold \(balance), effects say \(amount)"))
            }
        }
        for (effect, count) in effects where count != 1 {
            findings.append(Finding(kind: "effect-twice", isViolation: true, message: "\(effect) happened \(count) times"))
        }
        let ends = try await Self.list(cluster, nodes[0], "SELECT json_build_array(id, state) FROM tandem.saga")
        for end in ends {
            guard case .array(let values) = end, values.count == 2, case .string(let saga) = values[0], case .string(let state) = values[1] else { continue }
            for step in ["debit", "credit", "judge"] {
                let (isDone, isUndone) = (effects["\(saga) \(step) do"] != nil, effects["\(saga) \(step) undo"] != nil)
                let isRight = state == "completed" ? isDone && !isUndone : state != "compensated" || isDone == isUndone
                if !isRight {
                    findings.append(
                        Finding(
                            kind: "half-saga", isViolation: true,
                            message: "\(saga) is \(state), and its step \(step) is \(isDone ? "done" : "not done") and \(isUndone ? "undone" : "not undone")"))
                }
            }
        }
        if sum != 0 { findings.append(Finding(kind: "money", isViolation: true, message: "all accounts together hold \(sum), not 0")) }
        if rows == 0 { findings.append(Finding(kind: "no-effects", isViolation: true, message: "no saga has done anything")) }
        return findings
    }

    private static func list(_ cluster: Cluster, _ node: NodeName, _ sql: String) async throws -> [JSON] {
        let result = try await ChaosRun.ask(cluster, node, sql)
        return (0..<result.rowCount).compactMap { row in result.text(row, 0).flatMap { try? JSON(reading: $0) } }
    }
}
