import TandemCore

/// Compares what recovery says of transactions whose callers were told nothing with what is in the final lists.
struct OutcomeCheck {
    let history: History

    /// - Parameter outcomes: what recovery says.
    /// - Returns: the transactions of which it says something else than the lists.
    func findings(_ outcomes: [TransactionID: Outcome]) -> [Finding] {
        guard !outcomes.isEmpty else { return [] }
        let orders = VersionOrders(history), isPresent = orders.presence(of: history.appends)
        var present: [Int: Int] = [:], all: [Int: Int] = [:]
        for (number, append) in history.appends.all.enumerated() where orders.isFinal[append.key] && history.completions[append.transaction] == .info {
            all[append.transaction, default: 0] += 1
            if isPresent[number] { present[append.transaction, default: 0] += 1 }
        }
        return all.keys.sorted().compactMap { transaction in
            guard let id = TransactionID(history.id(of: transaction)), let outcome = outcomes[id] else { return nil }
            let count = present[transaction, default: 0]
            let isWrong = outcome == .committed && count < all[transaction, default: 0] || outcome == .rolledBack && count > 0
            guard isWrong else { return nil }
            return Finding(
                kind: "wrong-outcome", isViolation: true,
                message: "recovery says that \(id) is \(outcome.rawValue), and \(count) of its \(all[transaction, default: 0]) appends are in the final lists")
        }
    }
}
