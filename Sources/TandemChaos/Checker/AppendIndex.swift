/// Who appended what: every element of a list leads to at most one transaction.
struct AppendIndex: Sendable {
    struct Append: Hashable, Sendable {
        let transaction: Int
        let key: Int
        let value: Int64
        /// Whether it is its transaction's last to that key; what stands before is never to be seen as the last element.
        let isLast: Bool
    }

    /// In the order of keys and then values. The place in this array is an append's number.
    private(set) var all: [Append] = []
    /// Where the appends of each key begin, and where the last one's end.
    private var starts: [Int] = [0]

    init() {}

    /// - Parameter history: the transactions.
    /// - Throws: ``HistoryError/malformed(line:reason:)`` where two appends are the same: then an element says nothing.
    init(_ history: borrowing History) throws(HistoryError) {
        for transaction in 0..<history.count {
            let operations = history.operations[history.operations(of: transaction)]
            for (place, operation) in zip(operations.indices, operations) {
                guard case .append(let value) = operation.action else { continue }
                let isLast = !operations[(place + 1)...].contains { if case .append = $0.action { $0.key == operation.key } else { false } }
                all.append(Append(transaction: transaction, key: operation.key, value: value, isLast: isLast))
            }
        }
        all.sort { ($0.key, $0.value) < ($1.key, $1.value) }
        for (one, other) in zip(all, all.dropFirst()) where one.key == other.key && one.value == other.value {
            let lines = [history.lines[one.transaction], history.lines[other.transaction]].sorted()
            throw .malformed(
                line: lines[1], reason: "\(other.value) is appended to key \(history.keys[other.key]) more than once, also in line \(lines[0])")
        }
        starts = [Int](repeating: 0, count: history.keys.count + 1)
        for append in all { starts[append.key + 1] += 1 }
        for key in history.keys.indices { starts[key + 1] += starts[key] }
    }

    subscript(append: Int) -> Append { all[append] }

    /// The number of the append that made an element; nil where nobody appended it.
    func find(_ value: Int64, key: Int) -> Int? {
        var range = starts[key]..<starts[key + 1]
        while !range.isEmpty {
            let middle = range.lowerBound + range.count / 2
            if all[middle].value == value { return middle }
            range = all[middle].value < value ? (middle + 1)..<range.upperBound : range.lowerBound..<middle
        }
        return nil
    }
}
