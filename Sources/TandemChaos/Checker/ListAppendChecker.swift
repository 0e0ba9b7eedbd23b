/// Checks a history of transactions that append to lists and read them.
///
/// An element is appended once, so a list tells who wrote it and in which order: what a transaction read says which transactions came before
/// it and which after. Where that is a circle, no order of the transactions explains what they saw. The lists of all nodes together also
/// tell whether a transaction happened as a whole.
///
/// The time it takes grows with the size of the history, except for the search for short cycles, which is bounded.
///
/// Source: Kingsbury and Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations" (2020).
///
/// ```swift
/// let report = ListAppendChecker(try HistoryReader(path: path).read()).check()
/// ```
package struct ListAppendChecker: Sendable {
    /// What is promised.
    package enum Level: String, Codable, Hashable, Sendable, CaseIterable {
        /// Nothing is lost, nothing is seen that is not committed, and whoever waits for a row comes behind whoever had it.
        case readCommitted = "read-committed"
        /// A transaction also sees one state of everything.
        case snapshot
        /// Transactions are as if one ran after another.
        case serializable
    }

    private let history: History
    private let level: Level
    /// How far the search for cycles goes.
    var budget = CycleSearch.Budget()

    /// - Parameters:
    ///   - history: what was done and seen.
    ///   - level: what is promised. All anomalies are reported, and those that break it are violations.
    package init(_ history: History, level: Level = .readCommitted) {
        self.history = history
        self.level = level
    }

    /// Looks for all anomalies.
    ///
    /// - Returns: what was found; the same for the same history.
    package func check() -> CheckReport {
        let orders = VersionOrders(history)
        var findings = Findings(Narrator(history, orders), level: level)
        ListScan(history, orders).run(&findings)
        ReadScan(history, orders).run(&findings)
        let graph = DependencyGraph(history, orders)
        CycleScan(graph, budget).run(&findings)
        return report(orders, edges: graph.edges, findings)
    }

    private func report(_ orders: VersionOrders, edges: Int, _ findings: Findings) -> CheckReport {
        let unknown = history.appends.all.filter { !orders.isFinal[$0.key] && history.completions[$0.transaction] == .ok }
        return CheckReport(
            level: level, transactions: history.count, ok: history.completions.count { $0 == .ok }, fail: history.completions.count { $0 == .fail },
            info: history.completions.count { $0 == .info }, keys: history.keys.count, keysWithoutFinalRead: Set(unknown.map(\.key)).count,
            elements: orders.elements.count, edges: edges, skippedLines: history.skippedLines, isTruncated: history.isTruncated,
            counts: findings.counts, anomalies: findings.anomalies, violations: findings.violations)
    }
}

extension ListAppendChecker.Level {
    /// - Parameter kind: a kind of anomaly.
    /// - Returns: whether none of it may be found.
    package func forbids(_ kind: Anomaly.Kind) -> Bool {
        switch kind {
        case .lostWrite, .abortedWrite, .halfCommitted, .duplicateWrite, .garbageWrite, .incompatibleOrder, .internal, .g1a, .g1b, .g0, .g1c: true
        case .gSingle: self != .readCommitted
        case .g2Item: self == .serializable
        }
    }
}
