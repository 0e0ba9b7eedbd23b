/// What a chaos run brought.
package struct ChaosResult: Sendable, Codable {
    /// How long what was prepared when a fault was healed stayed so, in seconds, over all faults.
    package struct RecoverySeconds: Sendable, Codable {
        package let p50: Double
        package let p99: Double
        package let max: Double

        init(_ seconds: [Double]) {
            let sorted = seconds.sorted()
            func quantile(_ share: Double) -> Double { sorted.isEmpty ? 0 : sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))] }
            p50 = quantile(0.5)
            p99 = quantile(0.99)
            max = sorted.last ?? 0
        }
    }

    /// How a run is judged.
    package enum Verdict: String, Sendable, Codable {
        case passed, violated, inconclusive
    }

    package var seed: UInt64
    package var workload: Workload
    package var seconds: Int
    package var nodes: Int
    package var coordinators: Int
    /// Transactions that were sent.
    package var transactions = 0
    package var acknowledged = 0
    package var rolled_back = 0
    /// Transactions whose callers were not told an outcome.
    package var unknown = 0
    /// Of those, the ones that recovery committed, and the ones whose outcome nobody can tell.
    package var unknown_committed = 0, unknown_after_recovery = 0
    /// How often each kind of fault happened.
    package var faults: [String: Int] = [:]
    package var violations = 0
    /// Branches that were still prepared when the time for recovery was over.
    package var in_doubt_after = 0
    package var recovery_seconds = RecoverySeconds([])
    /// What was found, violation or not.
    package var findings: [Finding] = []
    package var verdict = Verdict.passed
    /// Why a run says nothing.
    package var reasons: [String] = []

    /// The fewest acknowledged transactions a second, and the largest share of those that are unknown after recovery, with which a run says something.
    static let fewest = 1_000.0 / 30, most = 0.05

    init(_ options: ChaosOptions) {
        (seed, workload, seconds) = (options.seed, options.workload, options.seconds)
        (nodes, coordinators) = (options.nodes, options.coordinators)
    }

    /// Judges the figures: what was violated first, and then whether enough happened.
    mutating func judge(asked: [FaultKind]) {
        reasons = []
        // No saga starts or ends while their home node is away, and each takes several transactions.
        let fewest = workload == .saga ? Self.fewest / 3 : Self.fewest
        if Double(acknowledged) < Double(seconds) * fewest {
            reasons.append("\(acknowledged) acknowledged transactions in \(seconds) s are too few: at least \(Int(Double(seconds) * fewest))")
        }
        if Double(unknown_after_recovery) > Double(transactions) * Self.most {
            reasons.append("\(unknown_after_recovery) of \(transactions) transactions have no outcome that anybody can tell after recovery: at most 5 % may")
        }
        for kind in asked where faults[kind.rawValue, default: 0] == 0 { reasons.append("the fault \(kind.rawValue) never happened") }
        verdict = violations > 0 || in_doubt_after > 0 ? .violated : reasons.isEmpty ? .passed : .inconclusive
    }
}
