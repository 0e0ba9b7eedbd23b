/// What clients did and what they saw: transactions that append to lists and read them.
///
/// Everything lies in a few arrays of integers. A history of 100,000 transactions holds some ten million elements that were read; nearly
/// all of those lists are beginnings of one another, so a list is kept as the length that it shares with its key's trunk, and only what
/// differs is kept as it was read.
package struct History: Sendable {
    /// How a transaction ended, in the words of the file.
    package enum Completion: String, Codable, Hashable, Sendable {
        /// The commit was acknowledged.
        case ok
        /// It was certainly rolled back.
        case fail
        /// Nobody was told, or the process ended before.
        case info
    }

    /// A list that was read: so many elements of its key's trunk, and what follows them.
    struct Reading: Hashable, Sendable {
        let shared: Int
        /// Where in ``History/tails`` the rest stands. Mostly empty.
        let tail: Range<Int>

        var count: Int { shared + tail.count }
    }

    /// One operation of a transaction.
    struct Operation: Hashable, Sendable {
        enum Action: Hashable, Sendable {
            case append(Int64)
            /// What was read is known of transactions that are ok.
            case read(Reading?)
        }

        /// The number of the key, not the key itself.
        let key: Int
        var action: Action
    }

    /// A read after everything was healed.
    struct FinalRead: Hashable, Sendable {
        let key: Int
        let reading: Reading
    }

    /// The names of the nodes, where the history's first line tells them.
    package internal(set) var nodes: [String] = []
    /// Lines that are about something else than transactions.
    package internal(set) var skippedLines = 0
    /// Whether the last line was cut off, and so ignored.
    package internal(set) var isTruncated = false

    /// The keys by number.
    var keys: [Int64] = []
    /// For each key, the longest list that was read so far when a list that begins with all of it came along.
    var trunks: [[Int64]] = []
    var tails: [Int64] = []
    var finalReads: [FinalRead] = []
    /// All appends, by which an element leads to its transaction.
    var appends = AppendIndex()

    /// Of each transaction, in the order of their beginnings.
    var completions: [Completion] = []
    /// The line with which each began.
    var lines: [Int] = []
    private var ids: [Range<Int>] = []
    private var idBytes: [UInt8] = []
    /// Where the operations of each begin.
    private var starts: [Int] = []
    private(set) var operations: [Operation] = []

    /// How many transactions there are.
    package var count: Int { completions.count }
}

extension History {
    /// The places of a transaction's operations in ``operations``.
    func operations(of transaction: Int) -> Range<Int> {
        starts[transaction]..<(transaction + 1 < count ? starts[transaction + 1] : operations.count)
    }

    /// A transaction's id; empty where it has none.
    func id(of transaction: Int) -> String { String(decoding: idBytes[ids[transaction]], as: UTF8.self) }

    /// The node that holds a key; nil where the nodes are unknown.
    func node(of key: Int) -> String? {
        guard !nodes.isEmpty else { return nil }
        let remainder = Int(keys[key] % Int64(nodes.count))
        return nodes[remainder < 0 ? remainder + nodes.count : remainder]
    }

    /// An element of a list that was read.
    func element(_ index: Int, of reading: Reading, key: Int) -> Int64 {
        index < reading.shared ? trunks[key][index] : tails[reading.tail.lowerBound + index - reading.shared]
    }

    /// All of a list that was read.
    func elements(of reading: Reading, key: Int) -> [Int64] {
        Array(trunks[key].prefix(reading.shared)) + tails[reading.tail]
    }

    /// The lists, with their keys, that are more than a beginning of their key's trunk.
    var strays: [(key: Int, reading: Reading)] {
        let read = operations.compactMap { operation -> (key: Int, reading: Reading)? in
            guard case .read(let reading?) = operation.action else { return nil }
            return (operation.key, reading)
        }
        return (read + finalReads.map { ($0.key, $0.reading) }).filter { !$0.reading.tail.isEmpty }
    }
}

extension History {
    /// Begins a transaction.
    ///
    /// - Parameters:
    ///   - operations: what it is to do.
    ///   - id: its id, as bytes.
    ///   - line: where it begins.
    /// - Returns: its number.
    mutating func begin(_ operations: [Operation], id: ArraySlice<UInt8>, line: Int) -> Int {
        starts.append(self.operations.count)
        self.operations += operations
        completions.append(.info)
        lines.append(line)
        ids.append(idBytes.count..<idBytes.count)
        name(count - 1, id)
        return count - 1
    }

    /// Gives a transaction an id, if this is another one than it has.
    mutating func name(_ transaction: Int, _ id: ArraySlice<UInt8>) {
        guard !id.isEmpty, idBytes[ids[transaction]] != id else { return }
        ids[transaction] = idBytes.count..<(idBytes.count + id.count)
        idBytes += id
    }

    /// Notes what an operation of a transaction has read.
    mutating func fill(_ operation: Int, _ reading: Reading) { operations[operation].action = .read(reading) }
}
