@testable import TandemChaos

/// The kinds of cycles of a small history, by trying every path: nothing in it is shared with the checker.
struct NaiveCycles {
    /// A group of transactions that depend on each other, and the length of its shortest cycle of that kind.
    struct Group: Hashable {
        let kind: Anomaly.Kind
        let length: Int
        let members: Int
    }

    private let count: Int
    /// By pair of transactions, the lowest kind of edge: 0 is ww, 1 is wr, 2 is rw.
    private var edges: [[Int?]]

    init(_ history: RandomHistory) {
        count = history.transactions.count
        edges = Array(repeating: Array(repeating: nil, count: count), count: count)
        var writers: [[Int]: Int] = [:]
        var orders = history.finals
        for (number, transaction) in history.transactions.enumerated() {
            for operation in transaction.operations {
                switch operation {
                case .append(let key, let value): if transaction.completion != .fail { writers[[key, value]] = number }
                case .read(let key, let list):
                    if transaction.completion == .ok, history.finals[key] == nil, list.count > orders[key]?.count ?? 0 { orders[key] = list }
                }
            }
        }
        for (key, order) in orders {
            let line = Self.unique(order).compactMap { writers[[key, $0]] }
            for (one, other) in zip(line, line.dropFirst()) { add(one, other, 0) }
        }
        for (number, transaction) in history.transactions.enumerated() where transaction.completion == .ok {
            for case .read(let key, let list) in transaction.operations {
                let order = orders[key] ?? []
                let isPrefix = order.starts(with: list)
                // In an order, the second place of an element counts for nothing.
                let read = (isPrefix ? Self.unique(list) : list).compactMap { writers[[key, $0]] }
                if let last = read.last(where: { $0 != number }) { add(last, number, 1) }
                let behind = Self.unique(order).filter { !list.contains($0) }.compactMap { writers[[key, $0]] }
                if isPrefix, let next = behind.first { add(number, next, 2) }
            }
        }
    }

    private static func unique(_ list: [Int]) -> [Int] { list.enumerated().filter { !list[..<$0].contains($1) }.map(\.element) }

    private mutating func add(_ one: Int, _ other: Int, _ kind: Int) {
        if one != other { edges[one][other] = min(kind, edges[one][other] ?? kind) }
    }

    /// What the checker is to find.
    var groups: [Group] {
        let writes = groups(upTo: 0), reads = groups(upTo: 1), all = groups(upTo: 2)
        let g0 = writes.map { Group(kind: .g0, length: shortest($0, upTo: 0), members: $0.count) }
        let g1c = reads.filter { one in !writes.contains { $0.isSubset(of: one) } }.map { Group(kind: .g1c, length: shortest($0, upTo: 1), members: $0.count) }
        let rest = all.filter { one in !reads.contains { $0.isSubset(of: one) } }.map { members in
            let singles = cycles(members, upTo: 2).filter { $0.overwritten == 1 }.map(\.length)
            return Group(kind: singles.isEmpty ? .g2Item : .gSingle, length: singles.min() ?? shortest(members, upTo: 2), members: members.count)
        }
        return g0 + g1c + rest
    }

    /// Transactions that reach each other.
    private func groups(upTo kind: Int) -> [Set<Int>] {
        var reach = edges.map { $0.map { ($0 ?? 9) <= kind } }
        for middle in 0..<count {
            for one in 0..<count where reach[one][middle] {
                for other in 0..<count where reach[middle][other] { reach[one][other] = true }
            }
        }
        return Array(Set((0..<count).filter { reach[$0][$0] }.map { one in Set((0..<count).filter { reach[one][$0] && reach[$0][one] }) }))
    }

    private func shortest(_ members: Set<Int>, upTo kind: Int) -> Int { cycles(members, upTo: kind).map(\.length).min() ?? 0 }

    /// All cycles that pass no transaction twice.
    private func cycles(_ members: Set<Int>, upTo kind: Int) -> [(length: Int, overwritten: Int)] {
        var found: [(Int, Int)] = []
        func go(_ path: [Int], _ overwritten: Int) {
            guard let last = path.last else { return }
            for next in members where (edges[last][next] ?? 9) <= kind && next >= path[0] {
                let count = overwritten + (edges[last][next] == 2 ? 1 : 0)
                if next == path[0] { found.append((path.count, count)) } else if !path.contains(next) { go(path + [next], count) }
            }
        }
        for start in members { go([start], 0) }
        return found
    }
}
