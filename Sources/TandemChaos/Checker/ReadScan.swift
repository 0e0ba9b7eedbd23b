/// Looks at every read on its own: whether it fits to the order of its key, to the transactions it saw and to its own transaction.
struct ReadScan {
    /// A read, and the transaction whose it is; a final read is nobody's.
    private struct Read {
        let key: Int
        let reading: History.Reading
        let transaction: Int?
    }

    private let history: History
    private let orders: VersionOrders

    init(_ history: History, _ orders: VersionOrders) {
        self.history = history
        self.orders = orders
    }

    /// - Parameter findings: where what is found goes.
    func run(_ findings: inout Findings) {
        for final in history.finalReads { findOrder(Read(key: final.key, reading: final.reading, transaction: nil), &findings) }
        for transaction in 0..<history.count where history.completions[transaction] == .ok {
            let operations = history.operations(of: transaction)
            for place in operations {
                guard case .read(let reading?) = history.operations[place].action else { continue }
                let read = Read(key: history.operations[place].key, reading: reading, transaction: transaction)
                findOrder(read, &findings)
                findRolledBack(read, &findings)
                findIntermediate(read, &findings)
                if let contradiction = contradiction(place, read, operations) {
                    findings.add(.internal) { narrator in
                        Findings.Draft(
                            message: "transaction \(narrator.id(transaction)) read \(narrator.key(read.key)), and \(contradiction.text)",
                            transactions: [transaction], keys: [read.key], values: contradiction.values)
                    }
                }
            }
        }
    }

    private func findOrder(_ read: Read, _ findings: inout Findings) {
        guard !orders.holds(read.reading, of: read.key, in: history) else { return }
        findings.add(.incompatibleOrder) { narrator in
            let list = history.elements(of: read.reading, key: read.key)
            let order = Array(orders.elements[orders.places(of: read.key)])
            let place = zip(list, order).prefix { $0 == $1 }.count
            let name = orders.isFinal[read.key] ? "the final list" : "the longest list that was read"
            let part = place < order.count ? "\(name) has \(order[place])" : "\(name) has ended"
            let reader = read.transaction.map { "transaction \(narrator.id($0)) read" } ?? "a final read found"
            return Findings.Draft(
                message: "\(reader) a list of \(narrator.key(read.key)) that is not the beginning of \(name): at place \(place + 1) of "
                    + "\(list.count) it has \(list[place]), where \(part)",
                transactions: read.transaction.map { [$0] } ?? [], keys: [read.key], values: [list[place]] + order[place...].prefix(1))
        }
    }

    private func findRolledBack(_ read: Read, _ findings: inout Findings) {
        let isInOrder = orders.holds(read.reading, of: read.key, in: history)
        // Most lists are the beginning of an order in which nothing was rolled back.
        guard isInOrder ? orders.hasFailure(read.reading, of: read.key) : true else { return }
        let failed = history.elements(of: read.reading, key: read.key).compactMap { history.appends.find($0, key: read.key) }
            .filter { history.completions[history.appends[$0].transaction] == .fail }
        guard let first = failed.first, let reader = read.transaction else { return }
        findings.add(.g1a) { narrator in
            let writer = history.appends[first].transaction
            return Findings.Draft(
                message: "transaction \(narrator.id(reader)) read \(history.appends[first].value) in \(narrator.key(read.key)), which transaction "
                    + "\(narrator.id(writer)) appended, and that was rolled back",
                transactions: [reader] + failed.map { history.appends[$0].transaction }, keys: [read.key], values: failed.map { history.appends[$0].value })
        }
    }

    private func findIntermediate(_ read: Read, _ findings: inout Findings) {
        guard read.reading.count > 0, let reader = read.transaction else { return }
        let last = history.element(read.reading.count - 1, of: read.reading, key: read.key)
        guard let append = history.appends.find(last, key: read.key).map({ history.appends[$0] }), !append.isLast, append.transaction != reader,
            // That is G1a already.
            history.completions[append.transaction] != .fail
        else { return }
        findings.add(.g1b) { narrator in
            Findings.Draft(
                message: "transaction \(narrator.id(reader)) read a list of \(narrator.key(read.key)) that ends with \(last), which is not the last "
                    + "that transaction \(narrator.id(append.transaction)) appended to it",
                transactions: [reader, append.transaction], keys: [read.key], values: [last])
        }
    }
}

// Within one transaction.
extension ReadScan {
    /// Why a read cannot be, given what its own transaction did.
    ///
    /// Who has appended holds the row's lock: nobody else appends until the end, so the own elements stay the last ones. Before that others may append
    /// between two reads, even at read committed; but what was there stays there.
    private func contradiction(_ place: Int, _ read: Read, _ operations: Range<Int>) -> (text: String, values: [Int64])? {
        var own: [Int64] = []
        var earlier: History.Reading?
        for operation in history.operations[operations.lowerBound..<place] where operation.key == read.key {
            switch operation.action {
            case .append(let value): own.append(value)
            case .read(let reading): earlier = reading
            }
        }
        if !ends(read, with: own) {
            return ("its own appends before it are not the list's last elements", own)
        }
        for operation in history.operations[place..<operations.upperBound] where operation.key == read.key {
            guard case .append(let value) = operation.action, contains(read, value) else { continue }
            return ("saw \(value), which it appended only afterwards", [value])
        }
        if let earlier, !begins(read, with: earlier) {
            let places = 0..<earlier.count
            let missing = places.map { history.element($0, of: earlier, key: read.key) }.filter { !contains(read, $0) }
            return ("an earlier list that it read is not the beginning of this one", missing)
        }
        return nil
    }

    private func ends(_ read: Read, with values: [Int64]) -> Bool {
        let start = read.reading.count - values.count
        return start >= 0 && values.indices.allSatisfy { history.element(start + $0, of: read.reading, key: read.key) == values[$0] }
    }

    private func contains(_ read: Read, _ value: Int64) -> Bool {
        history.trunks[read.key].prefix(read.reading.shared).contains(value) || history.tails[read.reading.tail].contains(value)
    }

    private func begins(_ read: Read, with earlier: History.Reading) -> Bool {
        if earlier.tail.isEmpty, earlier.shared <= read.reading.shared { return true }
        return earlier.count <= read.reading.count
            && (0..<earlier.count).allSatisfy {
                history.element($0, of: earlier, key: read.key) == history.element($0, of: read.reading, key: read.key)
            }
    }
}
