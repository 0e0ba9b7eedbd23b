/// Makes a history of lines, each of which it checks against those before.
struct HistoryBuilder {
    private var history = History()
    private var numbers: [Int64: Int] = [:]
    /// The transaction that each process is in.
    private var open: [Int64: Int] = [:]
    /// The operations of the line that is being read.
    private var operations: [History.Operation] = []

    /// Reads one line.
    ///
    /// - Parameter scanner: at the beginning of the line; afterwards at that of the next one.
    /// - Throws: ``HistoryError/malformed(line:reason:)``.
    mutating func read(_ scanner: inout ByteScanner) throws(HistoryError) {
        var event = HistoryEvent()
        operations.removeAll(keepingCapacity: true)
        try scanner.expect("{")
        if !scanner.take("}") {
            repeat { try readField(of: &event, &scanner) } while scanner.take(",")
            try scanner.expect("}")
        }
        switch event.subject {
        case .transaction: try take(event, &scanner)
        case .run where scanner.line == 1: try readNodes(event, &scanner)
        case .run, .other: history.skippedLines += 1
        case nil: throw scanner.malformed("it has no \"f\"")
        }
        try scanner.endLine()
    }

    /// - Parameter isTruncated: whether something stood behind the last line.
    /// - Returns: the history; what is still open has an unknown outcome.
    /// - Throws: ``HistoryError/malformed(line:reason:)`` where two appends are the same.
    consuming func finish(isTruncated: Bool) throws(HistoryError) -> History {
        history.isTruncated = isTruncated
        history.appends = try AppendIndex(history)
        return history
    }
}

// What stands in a line.
extension HistoryBuilder {
    private mutating func readField(of event: inout HistoryEvent, _ scanner: inout ByteScanner) throws(HistoryError) {
        let name = try scanner.string()
        try scanner.expect(":")
        switch HistoryEvent.Field(name, in: scanner) {
        case .f:
            let f = try scanner.string()
            event.subject = scanner.isText(f, "txn") ? .transaction : scanner.isText(f, "run") ? .run : .other
        case .type:
            let type = try scanner.string()
            event.kind = .invoke
            if !scanner.isText(type, "invoke") { event.kind = HistoryEvent.Kind(rawValue: scanner.text(type)) }
        case .value:
            event.value = scanner.position
            // Only what is known to be a transaction has operations; mostly that is known by now.
            guard event.subject == .transaction else { return try scanner.skipValue() }
            try readOperations(&event, &scanner)
        case .process where scanner.next() != UInt8(ascii: "\""):
            event.process = try scanner.integer("the process")
        case .transaction where scanner.next() == UInt8(ascii: "\""):
            event.id = try scanner.string()
        case .final:
            event.isFinal = scanner.take(word: "true")
            if !event.isFinal { try scanner.skipValue() }
        case .nodes:
            event.nodes = scanner.position
            try scanner.skipValue()
        case .process, .transaction, nil:
            try scanner.skipValue()
        }
    }

    /// The value of a transaction: a list of operations, or null where it is a completion that says nothing about them.
    private mutating func readOperations(_ event: inout HistoryEvent, _ scanner: inout ByteScanner) throws(HistoryError) {
        event.hasOperations = true
        operations.removeAll(keepingCapacity: true)
        if scanner.take(word: "null") { return }
        try scanner.expect("[")
        repeat { try readOperation(&scanner) } while scanner.take(",")
        try scanner.expect("]")
    }

    private mutating func readOperation(_ scanner: inout ByteScanner) throws(HistoryError) {
        try scanner.expect("[")
        let name = try scanner.string()
        try scanner.expect(",")
        let key = number(of: try scanner.integer("a key"))
        try scanner.expect(",")
        if scanner.isText(name, "r") {
            let reading: History.Reading? = scanner.take(word: "null") ? nil : try readList(of: key, &scanner)
            operations.append(History.Operation(key: key, action: .read(reading)))
        } else if scanner.isText(name, "append") {
            operations.append(History.Operation(key: key, action: .append(try scanner.integer("a value"))))
        } else {
            throw scanner.malformed("'\(scanner.text(name))' is no operation: there are \"append\" and \"r\"")
        }
        try scanner.expect("]")
    }

    /// Reads a list along its key's trunk, which grows where the list goes on behind all of it.
    private mutating func readList(of key: Int, _ scanner: inout ByteScanner) throws(HistoryError) -> History.Reading {
        // Out of the array while it changes, so that no copy is made.
        var trunk: [Int64] = []
        swap(&trunk, &history.trunks[key])
        defer { swap(&trunk, &history.trunks[key]) }
        var shared = 0
        let start = history.tails.count
        try scanner.expect("[")
        if scanner.take("]") { return History.Reading(shared: 0, tail: start..<start) }
        repeat {
            let element = try scanner.integer("an element")
            if history.tails.count > start {
                history.tails.append(element)
            } else if shared == trunk.count {
                trunk.append(element)
                shared += 1
            } else if trunk[shared] == element {
                shared += 1
            } else {
                history.tails.append(element)
            }
        } while scanner.take(",")
        try scanner.expect("]")
        return History.Reading(shared: shared, tail: start..<history.tails.count)
    }

    private mutating func number(of key: Int64) -> Int {
        if let number = numbers[key] { return number }
        numbers[key] = history.keys.count
        history.keys.append(key)
        history.trunks.append([])
        return history.keys.count - 1
    }

    private mutating func readNodes(_ event: HistoryEvent, _ scanner: inout ByteScanner) throws(HistoryError) {
        guard let nodes = event.nodes else { return }
        let end = scanner.position
        scanner.position = nodes
        try scanner.expect("[")
        repeat { history.nodes.append(scanner.text(try scanner.string())) } while scanner.take(",")
        try scanner.expect("]")
        scanner.position = end
    }
}

// What a line means.
extension HistoryBuilder {
    private mutating func take(_ event: HistoryEvent, _ scanner: inout ByteScanner) throws(HistoryError) {
        var event = event
        if let value = event.value, !event.hasOperations {
            let end = scanner.position
            scanner.position = value
            try readOperations(&event, &scanner)
            scanner.position = end
        }
        guard let kind = event.kind else { throw scanner.malformed("its \"type\" is none of invoke, ok, fail and info") }
        if event.isFinal { return try takeFinal(kind, scanner) }
        guard let process = event.process else { throw scanner.malformed("it has no \"process\", an integer") }
        let id = event.id.map { scanner.bytes($0) } ?? []
        switch kind {
        case .invoke:
            guard !operations.isEmpty else { throw scanner.malformed("it has no operations in its \"value\"") }
            try expectNoLists(scanner)
            let transaction = history.begin(operations, id: id, line: scanner.line)
            if let other = open.updateValue(transaction, forKey: process) {
                throw scanner.malformed("process \(process) is still in the transaction of line \(history.lines[other])")
            }
        case .ok:
            let transaction = try close(process, id, scanner)
            history.completions[transaction] = .ok
            try fill(transaction, scanner)
        case .fail, .info:
            let transaction = try close(process, id, scanner)
            history.completions[transaction] = kind == .fail ? .fail : .info
            if !operations.isEmpty { try expectSameOperations(transaction, scanner) }
            try expectNoLists(scanner)
        }
    }

    private mutating func close(_ process: Int64, _ id: ArraySlice<UInt8>, _ scanner: borrowing ByteScanner) throws(HistoryError) -> Int {
        guard let transaction = open.removeValue(forKey: process) else { throw scanner.malformed("process \(process) is in no transaction") }
        history.name(transaction, id)
        return transaction
    }

    private mutating func takeFinal(_ kind: HistoryEvent.Kind, _ scanner: borrowing ByteScanner) throws(HistoryError) {
        guard kind == .ok else { throw scanner.malformed("a final read is always ok") }
        for operation in operations {
            guard case .read(let reading?) = operation.action else { throw scanner.malformed("a final line holds reads with their lists and nothing else") }
            history.finalReads.append(History.FinalRead(key: operation.key, reading: reading))
        }
    }

    private mutating func fill(_ transaction: Int, _ scanner: borrowing ByteScanner) throws(HistoryError) {
        try expectSameOperations(transaction, scanner)
        for (place, operation) in zip(history.operations(of: transaction), operations) {
            guard case .read(let reading) = operation.action else { continue }
            guard let reading else { throw scanner.malformed("it is ok, but the read of key \(history.keys[operation.key]) has no list") }
            history.fill(place, reading)
        }
    }

    private func expectSameOperations(_ transaction: Int, _ scanner: borrowing ByteScanner) throws(HistoryError) {
        let begun = history.operations[history.operations(of: transaction)]
        let isSame = begun.elementsEqual(operations) { one, other in
            switch (one.action, other.action) {
            case (.append(let value), .append(let same)): one.key == other.key && value == same
            case (.read, .read): one.key == other.key
            case (.append, .read), (.read, .append): false
            }
        }
        guard isSame else { throw scanner.malformed("its operations are not those with which line \(history.lines[transaction]) began") }
    }

    private func expectNoLists(_ scanner: borrowing ByteScanner) throws(HistoryError) {
        let hasList = operations.contains { if case .read(.some) = $0.action { true } else { false } }
        guard !hasList else { throw scanner.malformed("a read has a list, although only ok transactions tell what they read") }
    }
}
