import Foundation

@testable import TandemChaos

/// A history as a file holds it.
struct HistoryText {
    enum Operation: Hashable {
        case append(Int, Int)
        case read(Int, [Int])
    }

    struct Transaction {
        let completion: History.Completion
        let operations: [Operation]

        static func ok(_ operations: Operation...) -> Transaction { Transaction(completion: .ok, operations: operations) }
        static func fail(_ operations: Operation...) -> Transaction { Transaction(completion: .fail, operations: operations) }
        static func info(_ operations: Operation...) -> Transaction { Transaction(completion: .info, operations: operations) }
    }

    private(set) var lines = [#"{"f":"run","seed":42,"nodes":["n0","n1","n2"]}"#]

    /// - Parameters:
    ///   - transactions: one after another, each by a process of its own; they are called `t1`, `t2` and so on.
    ///   - finals: what is read at the end, by key.
    init(_ transactions: [Transaction], finals: [Int: [Int]] = [:]) {
        for (number, transaction) in transactions.enumerated() {
            line(number, "invoke", transaction.operations.map { Self.json($0, isKnown: false) })
            line(number, transaction.completion.rawValue, transaction.operations.map { Self.json($0, isKnown: transaction.completion == .ok) })
        }
        for (key, list) in finals.sorted(by: { $0.key < $1.key }) {
            lines.append(#"{"type":"ok","f":"txn","final":true,"value":[\#(Self.json(.read(key, list), isKnown: true))]}"#)
        }
    }

    private mutating func line(_ number: Int, _ type: String, _ operations: [String]) {
        let value = operations.joined(separator: ",")
        lines.append(#"{"index":\#(lines.count),"process":\#(number),"type":"\#(type)","f":"txn","value":[\#(value)],"transaction":"t\#(number + 1)"}"#)
    }

    private static func json(_ operation: Operation, isKnown: Bool) -> String {
        switch operation {
        case .append(let key, let value): #"["append",\#(key),\#(value)]"#
        case .read(let key, let list): #"["r",\#(key),\#(isKnown ? "[\(list.map(String.init).joined(separator: ","))]" : "null")]"#
        }
    }

    var text: String { lines.map { $0 + "\n" }.joined() }

    func check(_ level: ListAppendChecker.Level = .readCommitted) throws -> CheckReport { try Self.check(text, level) }

    static func check(_ text: String, _ level: ListAppendChecker.Level = .readCommitted) throws -> CheckReport {
        ListAppendChecker(try read(text), level: level).check()
    }

    static func read(_ text: String, piece: Int = 1 << 20) throws -> History {
        let file = FileManager.default.temporaryDirectory.appending(path: "history-\(UUID().uuidString).jsonl")
        try Data(text.utf8).write(to: file)
        defer { try? FileManager.default.removeItem(at: file) }
        return try HistoryReader(path: file.path, piece: piece).read()
    }
}
