/// Looks at the lists: whether they hold what they are to hold, once, and nothing else.
struct ListScan {
    /// An element of a key.
    private struct Element: Hashable {
        let key: Int
        let value: Int64
    }

    private let history: History
    private let orders: VersionOrders

    init(_ history: History, _ orders: VersionOrders) {
        self.history = history
        self.orders = orders
    }

    /// - Parameter findings: where what is found goes.
    func run(_ findings: inout Findings) {
        findAppends(&findings)
        findElements(&findings)
    }

    /// From the appends to the final lists: whether each is where it is to be.
    private func findAppends(_ findings: inout Findings) {
        let isPresent = orders.presence(of: history.appends)
        // Of each transaction, the appends that are in final lists, and those that are not.
        var present = [Int](repeating: 0, count: history.count), missing = present
        for (number, append) in history.appends.all.enumerated() where orders.isFinal[append.key] {
            if isPresent[number] { present[append.transaction] += 1 } else { missing[append.transaction] += 1 }
        }
        for (number, append) in history.appends.all.enumerated() where orders.isFinal[append.key] {
            switch history.completions[append.transaction] {
            case .ok where !isPresent[number]:
                findings.add(.lostWrite) { lost(append, isWhole: present[append.transaction] == 0, $0) }
            case .fail where isPresent[number]:
                findings.add(.abortedWrite) { aborted(append, $0) }
            case .ok, .fail, .info: break
            }
        }
        for transaction in 0..<history.count where present[transaction] > 0 && missing[transaction] > 0 {
            if history.completions[transaction] == .info { findings.add(.halfCommitted) { half(transaction, isPresent, $0) } }
        }
    }

    /// From the lists to the appends: whether each element was appended, and stands there once.
    private func findElements(_ findings: inout Findings) {
        // By append, the number of the last list in which it was seen.
        var seen = [Int](repeating: 0, count: history.appends.all.count)
        var list = 0
        // A list is read many times; what is wrong in it is one finding.
        var known: Set<Element> = []
        func look(_ value: Int64, madeBy maker: Int?, _ key: Int) {
            guard let maker else {
                if known.insert(Element(key: key, value: value)).inserted { findings.add(.garbageWrite) { garbage(value, key, $0) } }
                return
            }
            if seen[maker] == list, known.insert(Element(key: key, value: value)).inserted { findings.add(.duplicateWrite) { duplicate(maker, $0) } }
            seen[maker] = list
        }
        for key in history.keys.indices {
            list += 1
            for place in orders.places(of: key) { look(orders.elements[place], madeBy: orders.makers[place], key) }
            guard !orders.holdsTrunk(of: key, in: history) else { continue }
            list += 1
            for value in history.trunks[key] { look(value, madeBy: history.appends.find(value, key: key), key) }
        }
        for (key, reading) in history.strays {
            list += 1
            for value in history.elements(of: reading, key: key) { look(value, madeBy: history.appends.find(value, key: key), key) }
        }
    }
}

extension ListScan {
    private func lost(_ append: AppendIndex.Append, isWhole: Bool, _ narrator: Narrator) -> Findings.Draft {
        let others = isWhole ? "none of its appends is there" : "others of its appends are there"
        return Findings.Draft(
            message: "transaction \(narrator.id(append.transaction)) is ok, but \(append.value), which it appended to \(narrator.key(append.key)), "
                + "is not in the final list; \(others)",
            transactions: [append.transaction], keys: [append.key], values: [append.value])
    }

    private func aborted(_ append: AppendIndex.Append, _ narrator: Narrator) -> Findings.Draft {
        Findings.Draft(
            message: "transaction \(narrator.id(append.transaction)) was rolled back, but \(append.value), which it appended to "
                + "\(narrator.key(append.key)), is in the final list",
            transactions: [append.transaction], keys: [append.key], values: [append.value])
    }

    private func half(_ transaction: Int, _ isPresent: [Bool], _ narrator: Narrator) -> Findings.Draft {
        let appends = history.appends.all.indices.filter { history.appends[$0].transaction == transaction && orders.isFinal[history.appends[$0].key] }
        func list(_ appends: [Int]) -> String {
            appends.map { "\(history.appends[$0].value) of \(narrator.key(history.appends[$0].key))" }.joined(separator: ", ")
        }
        return Findings.Draft(
            message: "nobody was told the outcome of transaction \(narrator.id(transaction)), and it happened by half: in the final lists there is "
                + "\(list(appends.filter { isPresent[$0] })), but not \(list(appends.filter { !isPresent[$0] }))",
            transactions: [transaction], keys: appends.map { history.appends[$0].key }, values: appends.map { history.appends[$0].value })
    }

    private func garbage(_ value: Int64, _ key: Int, _ narrator: Narrator) -> Findings.Draft {
        Findings.Draft(message: "the list of \(narrator.key(key)) holds \(value), which nobody appended", keys: [key], values: [value])
    }

    private func duplicate(_ maker: Int, _ narrator: Narrator) -> Findings.Draft {
        let append = history.appends[maker]
        return Findings.Draft(
            message: "a list of \(narrator.key(append.key)) holds \(append.value) more than once; transaction \(narrator.id(append.transaction)) "
                + "appended it once",
            transactions: [append.transaction], keys: [append.key], values: [append.value])
    }
}
