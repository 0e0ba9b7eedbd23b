import Foundation
import Testing

@testable import TandemChaos

@Suite("The checker of lists")
struct ListAppendCheckerTests {
    /// A history that shows a kind, and nothing else.
    struct Example: Sendable, CustomTestStringConvertible {
        let kind: Anomaly.Kind
        let text: String

        init(_ kind: Anomaly.Kind, _ transactions: HistoryText.Transaction..., finals: [Int: [Int]] = [:]) {
            self.kind = kind
            text = HistoryText(transactions, finals: finals).text
        }

        var testDescription: String { kind.rawValue }
    }

    static let examples = [
        Example(.lostWrite, .ok(.append(1, 5)), .ok(.append(1, 6)), finals: [1: [6]]),
        Example(.lostWrite, .ok(.append(1, 5), .append(2, 6)), finals: [1: [5], 2: []]),
        Example(.abortedWrite, .fail(.append(1, 5)), finals: [1: [5]]),
        Example(.halfCommitted, .info(.append(1, 5), .append(2, 6)), finals: [1: [5], 2: []]),
        Example(.duplicateWrite, .ok(.append(1, 5)), .ok(.append(1, 6)), finals: [1: [5, 6, 5]]),
        Example(.duplicateWrite, .ok(.append(1, 5)), .ok(.read(1, [5, 5]))),
        Example(.garbageWrite, .ok(.append(1, 5)), .ok(.read(1, [9])), .ok(.read(1, [9])), finals: [1: [9, 5]]),
        Example(.incompatibleOrder, .ok(.append(1, 5)), .ok(.append(1, 6)), .ok(.read(1, [6])), finals: [1: [5, 6]]),
        Example(.incompatibleOrder, .info(.append(1, 5)), .ok(.read(1, [5])), finals: [1: []]),
        Example(.internal, .ok(.append(1, 5), .read(1, [])), finals: [1: [5]]),
        Example(.internal, .ok(.read(1, [5]), .append(1, 5)), finals: [1: [5]]),
        Example(.internal, .ok(.append(1, 4)), .ok(.append(1, 5), .append(1, 6), .read(1, [4, 5])), finals: [1: [4, 5, 6]]),
        Example(.g1a, .fail(.append(1, 5)), .ok(.append(1, 6)), .ok(.read(1, [5, 6]))),
        Example(.g1b, .info(.append(1, 5), .append(1, 6)), .ok(.read(1, [5]))),
        Example(.g0, .ok(.append(1, 5), .append(2, 5)), .ok(.append(1, 6), .append(2, 6)), finals: [1: [5, 6], 2: [6, 5]]),
        Example(.g1c, .ok(.append(1, 5), .read(2, [6])), .ok(.append(2, 6), .read(1, [5])), finals: [1: [5], 2: [6]]),
        Example(.gSingle, .ok(.append(1, 5), .append(2, 6)), .ok(.read(1, [5]), .read(2, [])), finals: [1: [5], 2: [6]]),
        Example(.g2Item, .ok(.read(1, []), .append(2, 6)), .ok(.read(2, []), .append(1, 5)), finals: [1: [5], 2: [6]]),
    ]

    @Test("of each kind exactly that kind is found", arguments: examples)
    func kinds(example: Example) throws {
        for level in ListAppendChecker.Level.allCases {
            let report = try HistoryText.check(example.text, level)
            #expect(report.counts == [example.kind: 1])
            #expect(report.anomalies.map(\.kind) == [example.kind])
            #expect(report.anomalies.first?.isViolation == level.forbids(example.kind))
            #expect(report.violations == (level.forbids(example.kind) ? 1 : 0))
        }
    }

    @Test("each kind has an example")
    func complete() {
        #expect(Set(Self.examples.map(\.kind)) == Set(Anomaly.Kind.allCases))
    }

    @Test("read committed forbids all but cycles through what was overwritten, a snapshot those through one, and serializable all")
    func levels() {
        let allowed = ListAppendChecker.Level.allCases.map { level in Anomaly.Kind.allCases.filter { !level.forbids($0) } }
        #expect(allowed == [[.gSingle, .g2Item], [.g2Item], []])
    }

    @Test("nothing is found where transactions ran one after another, and those of unknown outcome happened or did not")
    func clean() throws {
        let report = try HistoryText(
            [
                .ok(.append(1, 1), .append(2, 1)), .info(.append(1, 2), .append(2, 2)), .info(.append(1, 3), .append(3, 3)), .fail(.append(2, 4)),
                .ok(.read(1, [1, 2]), .append(1, 5), .read(1, [1, 2, 5]), .append(1, 6)), .info(.read(1, []), .read(2, [])),
                .ok(.read(2, [1, 2]), .read(3, []), .read(4, [])),
            ], finals: [1: [1, 2, 5, 6], 2: [1, 2], 3: []]
        ).check(.serializable)
        #expect(report.counts.isEmpty && report.anomalies.isEmpty && report.violations == 0)
        #expect(report.transactions == 7 && report.ok == 3 && report.fail == 1 && report.info == 3)
        #expect(report.keys == 4 && report.keysWithoutFinalRead == 0 && report.elements == 6 && report.edges == 6)
    }

    @Test("a list that is longer when it is read again contradicts no promise of read committed, but a snapshot's")
    func repeated() throws {
        let text = HistoryText([.ok(.append(1, 5)), .ok(.read(1, []), .read(1, [5]), .append(1, 6), .read(1, [5, 6]))], finals: [1: [5, 6]])
        #expect(try text.check().violations == 0)
        #expect(try text.check(.snapshot).counts == [.gSingle: 1])
        #expect(try text.check(.snapshot).violations == 1)
    }

    @Test("a list that is shorter when it is read again is a contradiction")
    func shrunk() throws {
        let text = HistoryText([.ok(.append(1, 5)), .ok(.read(1, [5]), .read(1, []))], finals: [1: [5]])
        #expect(try text.check().counts == [.internal: 1, .gSingle: 1])
    }

    @Test("nobody appends behind an own append before the transaction ends")
    func overtaken() throws {
        let text = HistoryText([.ok(.append(1, 6)), .ok(.append(1, 5), .read(1, [5, 6]))], finals: [1: [5, 6]])
        #expect(try text.check().counts == [.internal: 1, .g1c: 1])
    }

    @Test("a key without a final read has the order of its longest read, and nothing is missing there")
    func longest() throws {
        let text = HistoryText([.ok(.append(1, 5)), .ok(.append(1, 6)), .ok(.read(1, [5])), .ok(.append(1, 7)), .ok(.read(1, [6]))])
        #expect(try text.check().counts == [.incompatibleOrder: 1])
        #expect(try text.check().keysWithoutFinalRead == 1)
    }

    @Test("of several final reads of a key the longest counts, and the others are to be its beginnings")
    func finals() throws {
        var lines = HistoryText([.ok(.append(1, 5)), .ok(.append(1, 6))], finals: [1: [5]]).lines
        lines.append(#"{"type":"ok","f":"txn","final":true,"value":[["r",1,[5,6]],["r",1,[6]]]}"#)
        #expect(try HistoryText.check(lines.map { $0 + "\n" }.joined()).counts == [.incompatibleOrder: 1])
    }

    @Test("all are counted, and ten of a kind described")
    func counts() throws {
        let text = HistoryText((0..<25).map { .ok(.append($0, 1), .append($0, 2)) }, finals: Dictionary(uniqueKeysWithValues: (0..<25).map { ($0, [2]) }))
        let report = try text.check()
        #expect(report.counts == [.lostWrite: 25] && report.violations == 25 && report.anomalies.count == 10)
        #expect(report.anomalies.first?.nodes == ["n0"])
    }

    @Test("a report is written as JSON in the words of the kinds, and read again")
    func json() throws {
        let report = try HistoryText([.ok(.append(1, 5), .append(2, 6)), .ok(.read(1, [5]), .read(2, []))], finals: [1: [5], 2: [6]]).check(.snapshot)
        let data = try JSONEncoder().encode(report)
        #expect(try JSONDecoder().decode(CheckReport.self, from: data) == report)
        let text = String(decoding: data, as: UTF8.self)
        #expect(text.contains(#""counts":{"G-single":1}"#) && text.contains(#""level":"snapshot""#) && text.contains(#""violations":1"#))
    }
}

// What is said about it.
extension ListAppendCheckerTests {
    @Test("a lost write is told with its transaction, key, node and element")
    func lost() throws {
        let anomaly = try #require(try HistoryText([.ok(.append(4, 5), .append(1, 6))], finals: [4: [], 1: [6]]).check().anomalies.first)
        #expect(
            anomaly.message == "transaction t1 is ok, but 5, which it appended to key 4 on n1, is not in the final list; others of its appends are there")
        #expect(anomaly.transactions == ["t1"] && anomaly.keys == [4] && anomaly.nodes == ["n1"] && anomaly.values == [5])
    }

    @Test("a transaction without an id is told by its line")
    func nameless() throws {
        let text = HistoryText([.ok(.append(4, 5))], finals: [4: []]).text.replacing(#","transaction":"t1""#, with: "")
        #expect(try HistoryText.check(text).anomalies.first?.transactions == ["line 2"])
    }

    @Test("a cycle is told step by step, with the statements of its transactions")
    func steps() throws {
        let report = try HistoryText(
            [.ok(.append(3, 5), .read(4, [])), .ok(.append(3, 6), .append(5, 7)), .ok(.read(5, [7]), .append(4, 8))], finals: [3: [5, 6], 4: [8], 5: [7]]
        ).check(.serializable)
        #expect(report.counts == [:])
        let broken = try HistoryText(
            [.ok(.append(3, 5), .read(4, [8])), .ok(.append(3, 6), .append(5, 7)), .ok(.read(5, [7]), .append(4, 8))], finals: [3: [5, 6], 4: [8], 5: [7]]
        ).check()
        let anomaly = try #require(broken.anomalies.first), cycle = try #require(anomaly.cycle)
        #expect(anomaly.kind == .g1c && cycle.isShortest && cycle.length == 3 && cycle.component == 3)
        let texts = Set(cycle.steps.map { $0.text.replacing(#/T\d /#, with: "") })
        #expect(
            texts == [
                "(t1) appended 5 to key 3 on n0 -> (t2) appended 6 after it (ww)", "(t2) appended 7 to key 5 on n2 -> (t3) read it (wr)",
                "(t3) appended 8 to key 4 on n1 -> (t1) read it (wr)",
            ])
        let party = try #require(cycle.transactions.first { $0.transaction == "t1" })
        let statements = ["UPDATE chaos_list SET elements = elements || 5 WHERE key = 3", "SELECT elements FROM chaos_list WHERE key = 4"]
        #expect(party.statements.map(\.sql) == statements)
        #expect(party.statements.map(\.node) == ["n0", "n1"] && party.statements.map(\.result) == [nil, "the element 8"])
        #expect(Set(anomaly.transactions) == ["t1", "t2", "t3"] && Set(anomaly.keys) == [3, 4, 5] && Set(anomaly.nodes) == ["n0", "n1", "n2"])
    }

    @Test("of a long cycle the first steps are told")
    func long() throws {
        let count = 200
        let report = try HistoryText(
            (0..<count).map { .ok(.read(($0 + 1) % count, []), .append($0, $0)) }, finals: Dictionary(uniqueKeysWithValues: (0..<count).map { ($0, [$0]) })
        ).check(.serializable)
        let cycle = try #require(report.anomalies.first?.cycle)
        #expect(report.counts == [.g2Item: 1] && cycle.length == count && cycle.isShortest && cycle.steps.count == 32)
    }
}
