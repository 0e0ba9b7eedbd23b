import Testing

@testable import TandemChaos

@Suite("Reading a history")
struct HistoryReaderTests {
    private static let invoke = #"{"process":1,"type":"invoke","f":"txn","value":[["append",1,5],["r",2,null]]}"#
    private static let ok = #"{"process":1,"type":"ok","f":"txn","value":[["append",1,5],["r",2,[7]]]}"#

    @Test("fields may come in any order, with space between them and others beside them")
    func order() throws {
        let text = """
            { "nodes" : ["a\\"b", "n2"], "f":"run", "options": {"x":[1,-2.5e+3,{"y":null}],"z":true} }
            {"value":[["append",-3,5],["r",4,null]],"other":[[],{}],\t"f":"txn","transaction":"0198-é","type":"invoke","process":7}\r
            {"value" : [ [ "append" , -3 , 5 ] , [ "r" , 4 , [ ] ] ] , "time":1.5, "type" : "ok" , "process" : 7 , "f" : "txn"}
            {"process":"nemesis","type":"info","f":"nemesis","value":"kill n2"}
            {"process":-1,"type":"ok","f":"transfer","value":{"from":1}}
            {"final":true,"f":"txn","type":"ok","value":[["r",-3,[5]],["r",4,[]]]}

            """
        let history = try HistoryText.read(text)
        #expect(history.count == 1 && history.completions == [.ok] && history.id(of: 0) == "0198-é")
        #expect(history.nodes == ["a\\\"b", "n2"] && history.keys == [-3, 4] && history.skippedLines == 2)
        #expect(history.keys.indices.map { history.node(of: $0) } == ["n2", "a\\\"b"])
        let report = ListAppendChecker(history).check()
        #expect(report.counts.isEmpty && report.elements == 1 && report.keysWithoutFinalRead == 0 && !report.isTruncated)
    }

    @Test("a transaction without a completion has an unknown outcome, and one may say no more than how it ended")
    func open() throws {
        let text =
            Self.invoke + "\n" + #"{"process":2,"type":"invoke","f":"txn","value":[["append",1,6]]}"# + "\n"
            + #"{"process":2,"type":"fail","f":"txn","value":null}"# + "\n"
        let history = try HistoryText.read(text)
        #expect(history.completions == [.info, .fail])
        #expect(history.node(of: 0) == nil)
    }

    @Test("a last line without its end is ignored, whatever it holds", arguments: [#"{"process":1,"ty"#, ok, "x"])
    func truncated(last: String) throws {
        let history = try HistoryText.read(Self.invoke + "\n" + last)
        #expect(history.isTruncated && history.completions == [.info])
    }

    @Test("an empty file is a history in which nothing happened")
    func empty() throws {
        #expect(try HistoryText.check("").transactions == 0)
    }

    @Test("a file that is not there is told by its path")
    func missing() {
        let error = #expect(throws: HistoryError.self) { try HistoryReader(path: "/nowhere/history.jsonl").read() }
        #expect(error?.description.contains("/nowhere/history.jsonl") == true)
    }

    @Test("it does not matter where the pieces end in which a file is read", arguments: [1, 2, 3, 7, 64, 1000])
    func pieces(piece: Int) throws {
        let text = RandomHistory(seed: 5).text.text + "{"
        let whole = ListAppendChecker(try HistoryText.read(text)).check()
        #expect(ListAppendChecker(try HistoryText.read(text, piece: piece)).check() == whole)
        #expect(whole.isTruncated)
    }

    @Test(
        "what is no history is refused with the number of the line",
        arguments: [
            (3, "{\"process\":1"), (3, ""), (3, "[]"), (3, "{}"), (3, #"{"f":"x"} {"#), (3, #"{"f":"txn}"#), (3, #"{"f":"x","g":[1,}"#),
            (3, #"{"f":"x","g":01x}"#), (3, #"{"f":"x","g":nul}"#), (3, #"{"f":"x","g":1.}"#), (3, #"{"f":"x","g":\#(String(repeating: "[", count: 99))"#),
            (3, #"{"f":"txn","type":"invoke","value":[["r",1,null]]}"#), (3, #"{"f":"txn","type":"begin","process":2,"value":[["r",1,null]]}"#),
            (3, #"{"f":"txn","type":"invoke","process":2}"#), (3, #"{"f":"txn","type":"invoke","process":2,"value":[]}"#),
            (3, #"{"f":"txn","type":"invoke","process":2,"value":[["r",1.5,null]]}"#),
            (3, #"{"f":"txn","type":"invoke","process":2,"value":[["r",9223372036854775808,null]]}"#),
            (3, #"{"f":"txn","type":"invoke","process":2,"value":[["r",01,null]]}"#),
            (3, #"{"f":"txn","type":"invoke","process":2,"value":[["w",1,2]]}"#), (3, #"{"f":"txn","type":"invoke","process":2,"value":[["r",1,[2]]]}"#),
            (3, #"{"f":"txn","type":"invoke","process":1,"value":[["r",1,null]]}"#), (3, #"{"f":"txn","type":"ok","process":2,"value":[["r",1,[]]]}"#),
            (3, #"{"f":"txn","type":"ok","process":1,"value":[["append",1,6],["r",2,[]]]}"#), (3, #"{"f":"txn","type":"ok","process":1}"#),
            (3, #"{"f":"txn","type":"ok","process":1,"value":[["append",1,5],["r",2,null]]}"#),
            (3, #"{"f":"txn","type":"info","process":1,"value":[["append",1,5],["r",2,[]]]}"#),
            (3, #"{"f":"txn","type":"info","final":true,"value":[["r",2,[]]]}"#), (3, #"{"f":"txn","type":"ok","final":true,"value":[["append",2,1]]}"#),
            (4, #"{"f":"other"}"# + "\n" + #"{"f":"txn","type":"invoke","process":2,"value":[["append",1,5]]}"#),
        ])
    func malformed(number: Int, line: String) {
        let text = [#"{"f":"run","nodes":["n1"]}"#, Self.invoke, line, ""].joined(separator: "\n")
        let error = #expect(throws: HistoryError.self) { try HistoryText.read(text) }
        guard case .malformed(line: number, let reason) = error else {
            Issue.record("\(line) gives \(String(describing: error))")
            return
        }
        #expect(!reason.isEmpty)
    }

    @Test("the smallest and the largest numbers are read")
    func numbers() throws {
        let text = #"{"f":"txn","type":"ok","final":true,"value":[["r",-9223372036854775808,[9223372036854775807,-0]]]}"# + "\n"
        let history = try HistoryText.read(text)
        #expect(history.keys == [.min])
        #expect(history.finalReads.map { history.elements(of: $0.reading, key: $0.key) } == [[.max, 0]])
    }

    @Test("whatever bytes stand in a file, it is read and checked or refused")
    func damaged() throws {
        var state: UInt64 = 1, refused = 0
        func random(_ bound: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int(state >> 33) % bound
        }
        let bytes = Array(#"[]{}",:-0189.eE\tfnr "#.utf8) + [0, 10, 13, 195]
        for seed in 0..<300 {
            let whole = Array(RandomHistory(seed: UInt64(seed)).text.text.utf8)
            for _ in 0..<10 {
                var text = whole
                for _ in 0...random(3) {
                    let place = random(text.count)
                    switch random(3) {
                    case 0: text[place] = bytes[random(bytes.count)]
                    case 1: text.insert(bytes[random(bytes.count)], at: place)
                    default: text.removeSubrange(place..<min(text.count, place + 1 + random(8)))
                    }
                }
                var scanner = ByteScanner(text, line: 1), builder = HistoryBuilder()
                do {
                    while !scanner.isAtEnd { try builder.read(&scanner) }
                    _ = ListAppendChecker(try builder.finish(isTruncated: false)).check()
                } catch { refused += 1 }
            }
        }
        #expect(refused > 1_000)
    }
}
