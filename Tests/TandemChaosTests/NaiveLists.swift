@testable import TandemChaos

/// What is wrong with the lists of a small history, by comparing each with each: nothing in it is shared with the checker.
struct NaiveLists {
    private let history: RandomHistory
    /// By key and element, the transaction that appended it, and whether it appended to the key again.
    private var writers: [[Int]: (transaction: Int, isLast: Bool)] = [:]
    private var orders: [Int: [Int]]

    init(_ history: RandomHistory) {
        self.history = history
        orders = history.finals
        for (number, transaction) in history.transactions.enumerated() {
            for (place, operation) in transaction.operations.enumerated() {
                switch operation {
                case .append(let key, let value):
                    let isLast = !transaction.operations[(place + 1)...].contains { if case .append(key, _) = $0 { true } else { false } }
                    writers[[key, value]] = (number, isLast)
                case .read(let key, let list):
                    if transaction.completion == .ok, history.finals[key] == nil, list.count > orders[key]?.count ?? 0 { orders[key] = list }
                }
            }
        }
    }

    /// What the checker is to find, apart from cycles.
    var counts: [Anomaly.Kind: Int] {
        var counts: [Anomaly.Kind: Int] = [:]
        for kind in lists + appends + reads { counts[kind, default: 0] += 1 }
        return counts
    }

    private func completion(_ key: Int, _ value: Int) -> History.Completion? {
        writers[[key, value]].map { history.transactions[$0.transaction].completion }
    }

    private var appends: [Anomaly.Kind] {
        history.transactions.flatMap { transaction -> [Anomaly.Kind] in
            let isPresent = transaction.operations.compactMap { operation -> Bool? in
                guard case .append(let key, let value) = operation, let final = history.finals[key] else { return nil }
                return final.contains(value)
            }
            switch transaction.completion {
            case .ok: return isPresent.filter { !$0 }.map { _ in .lostWrite }
            case .fail: return isPresent.filter { $0 }.map { _ in .abortedWrite }
            case .info: return Set(isPresent).count == 2 ? [.halfCommitted] : []
            }
        }
    }

    private var lists: [Anomaly.Kind] {
        var duplicates: Set<[Int]> = [], garbage: Set<[Int]> = []
        func look(_ key: Int, _ list: [Int]) {
            for value in list {
                let isKnown = writers[[key, value]] != nil
                if !isKnown { garbage.insert([key, value]) }
                if isKnown, list.count(where: { $0 == value }) > 1 { duplicates.insert([key, value]) }
            }
        }
        for (key, list) in history.finals { look(key, list) }
        for transaction in history.transactions where transaction.completion == .ok {
            for case .read(let key, let list) in transaction.operations { look(key, list) }
        }
        return duplicates.map { _ in .duplicateWrite } + garbage.map { _ in .garbageWrite }
    }

    private var reads: [Anomaly.Kind] {
        var found: [Anomaly.Kind] = []
        for (number, transaction) in history.transactions.enumerated() where transaction.completion == .ok {
            for (place, operation) in transaction.operations.enumerated() {
                guard case .read(let key, let list) = operation else { continue }
                if !(orders[key] ?? []).starts(with: list) { found.append(.incompatibleOrder) }
                if list.contains(where: { completion(key, $0) == .fail }) { found.append(.g1a) }
                if let last = list.last, let writer = writers[[key, last]], writer.transaction != number, !writer.isLast, completion(key, last) != .fail {
                    found.append(.g1b)
                }
                if isContradiction(key, list, transaction.operations[..<place], transaction.operations[place...]) { found.append(.internal) }
            }
        }
        return found
    }

    private func isContradiction(
        _ key: Int, _ list: [Int], _ before: ArraySlice<HistoryText.Operation>, _ after: ArraySlice<HistoryText.Operation>
    ) -> Bool {
        func own(_ operations: ArraySlice<HistoryText.Operation>) -> [Int] {
            operations.compactMap { if case .append(key, let value) = $0 { value } else { nil } }
        }
        let earlier = before.compactMap { operation -> [Int]? in if case .read(key, let list) = operation { list } else { nil } }.last ?? []
        return list.suffix(own(before).count) != own(before)[...] || own(after).contains(where: list.contains) || !list.starts(with: earlier)
    }
}
