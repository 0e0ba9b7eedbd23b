/// The order in which the elements of each key were appended: its final list or, where there is none, the longest that was read.
struct VersionOrders: Sendable {
    /// The lists of all keys, one behind the other.
    private(set) var elements: [Int64] = []
    /// Whether a key's order is a final list, so that what is not in it is not there.
    private(set) var isFinal: [Bool]
    /// Where the list of each key begins in ``elements``, and where the last one ends.
    private var starts: [Int] = [0]
    /// The append that made each element; nil where nobody did.
    private(set) var makers: [Int?] = []
    /// The append through which each element orders transactions; nil where it orders none.
    ///
    /// An element that nobody appended orders nothing, nor does one that was rolled back, nor the second place of an element that stands
    /// there twice: they are findings of their own, and would only lead to cycles that say the same.
    private(set) var bearers: [Int?] = []
    /// How many elements of each key's trunk are the beginning of its order.
    private var agreements: [Int] = []
    /// The place in each key's order from which on a list holds something that was rolled back.
    private var firstFailures: [Int] = []

    /// - Parameter history: the transactions, and the final reads.
    init(_ history: History) {
        var longest = [History.Reading?](repeating: nil, count: history.keys.count)
        func offer(_ reading: History.Reading, _ key: Int) {
            if reading.count > longest[key]?.count ?? -1 { longest[key] = reading }
        }
        for final in history.finalReads { offer(final.reading, final.key) }
        isFinal = longest.map { $0 != nil }
        for transaction in 0..<history.count {
            for operation in history.operations[history.operations(of: transaction)] where !isFinal[operation.key] {
                if case .read(let reading?) = operation.action { offer(reading, operation.key) }
            }
        }
        var isPlaced = [Bool](repeating: false, count: history.appends.all.count)
        for (key, reading) in longest.enumerated() {
            let order = reading.map { history.elements(of: $0, key: key) } ?? []
            agreements.append(zip(order, history.trunks[key]).prefix { $0 == $1 }.count)
            var firstFailure = Int.max
            for (place, element) in order.enumerated() {
                let maker = history.appends.find(element, key: key)
                let hasFailed = maker.map { history.completions[history.appends[$0].transaction] == .fail } ?? false
                if hasFailed { firstFailure = min(firstFailure, place) }
                makers.append(maker)
                bearers.append(maker.flatMap { hasFailed || isPlaced[$0] ? nil : $0 })
                if let maker { isPlaced[maker] = true }
            }
            firstFailures.append(firstFailure)
            elements += order
            starts.append(elements.count)
        }
    }
}

extension VersionOrders {
    /// The places of a key's order in the arrays.
    func places(of key: Int) -> Range<Int> { starts[key]..<starts[key + 1] }

    /// Whether each append is in its key's final list.
    func presence(of appends: borrowing AppendIndex) -> [Bool] {
        var isPresent = [Bool](repeating: false, count: appends.all.count)
        for key in isFinal.indices where isFinal[key] {
            for case let maker? in makers[places(of: key)] { isPresent[maker] = true }
        }
        return isPresent
    }

    /// Whether a list is the beginning of its key's order.
    func holds(_ reading: History.Reading, of key: Int, in history: History) -> Bool {
        let order = places(of: key)
        guard reading.shared <= agreements[key], reading.count <= order.count else { return false }
        return reading.tail.isEmpty || history.tails[reading.tail].elementsEqual(elements[(order.lowerBound + reading.shared)...].prefix(reading.tail.count))
    }

    /// Whether a key's trunk is the beginning of its order.
    func holdsTrunk(of key: Int, in history: History) -> Bool { agreements[key] == history.trunks[key].count }

    /// Whether a list that is the beginning of its key's order holds something that was rolled back.
    func hasFailure(_ reading: History.Reading, of key: Int) -> Bool { reading.count > firstFailures[key] }

    /// The append through which the last element before a place orders transactions, that of one transaction left out.
    func bearer(before place: Int, of key: Int, except transaction: Int, in appends: borrowing AppendIndex) -> Int? {
        for place in stride(from: place - 1, through: starts[key], by: -1) {
            if let bearer = bearers[place], appends[bearer].transaction != transaction { return bearer }
        }
        return nil
    }

    /// The append through which the first element at a place or behind it orders transactions.
    func bearer(from place: Int, of key: Int) -> Int? {
        for place in place..<starts[key + 1] {
            if let bearer = bearers[place] { return bearer }
        }
        return nil
    }
}
