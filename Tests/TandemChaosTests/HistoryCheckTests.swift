import Foundation
import TandemCore
import Testing

@testable import TandemChaos

@Suite("A run's history")
struct HistoryCheckTests {
    /// A file with these lines, for as long as the body needs it.
    private func with<Value>(_ lines: [String], _ body: (String) throws -> Value) throws -> Value {
        let path = FileManager.default.temporaryDirectory.appending(path: "tandem-history-\(UUID().uuidString)").path
        try (lines.joined(separator: "\n") + "\n").write(toFile: path, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(atPath: path) }
        return try body(path)
    }

    private func head(_ options: ChaosOptions) throws -> String {
        let text = String(decoding: try JSONEncoder().encode(options), as: UTF8.self)
        return
            #"{"process":-1,"type":"info","f":"run","seed":\#(options.seed),"workload":"\#(options.workload.rawValue)","nodes":["n1","n2"],"options":\#(text)}"#
    }

    @Test("what it was made of is read back, and so is the schedule of its faults")
    func options() throws {
        var options = ChaosOptions(seed: 77)
        (options.seconds, options.workload, options.faults) = (9, .bank, [.kill, .pause])
        let read = try with([head(options)]) { try HistoryCheck(path: $0).options() }
        #expect(read == options && read.schedule == options.schedule)
        #expect(throws: TandemError.self) { try with([#"{"f":"txn"}"#]) { try HistoryCheck(path: $0).options() } }
    }

    private static let id = "018f3e2a-7c4b-7d11-9a52-0123456789ab"

    /// A bank of two nodes with one transfer of 7 from account 1 of n1 to account 2 of n2, as it ended and as it is found.
    private func bank(_ end: String?, on nodes: [String], outcome: String? = nil, amount: Int = 7, total: Int = 0) throws -> [String] {
        var options = ChaosOptions(seed: 1)
        options.workload = .bank
        let transfer = #"{"from":"n1","fromAccount":1,"to":"n2","toAccount":2,"amount":7}"#
        var lines = [try head(options)]
        lines.append(#"{"process":1,"type":"invoke","f":"transfer","value":\#(transfer),"time":1,"transaction":"\#(Self.id)"}"#)
        if let end { lines.append(#"{"process":1,"type":"\#(end)","f":"transfer","value":\#(transfer),"time":2,"transaction":"\#(Self.id)"}"#) }
        if let outcome { lines.append(#"{"type":"info","f":"outcome","value":"\#(outcome)","time":3,"transaction":"\#(Self.id)"}"#) }
        for (node, account, sign) in [("n1", 1, -1), ("n2", 2, 1)] {
            var balances = [Int](repeating: BankWorkload.balance, count: BankWorkload.accounts)
            if nodes.contains(node) { balances[account - 1] += sign * amount }
            balances[199] += node == "n1" ? total : 0
            lines.append(#"{"type":"ok","f":"balances","final":true,"node":"\#(node)","value":\#(balances),"time":4}"#)
            guard nodes.contains(node) else { continue }
            lines.append(#"{"type":"ok","f":"ledger","final":true,"node":"\#(node)","value":["\#(Self.id)",\#(account),\#(sign * amount)],"time":4}"#)
        }
        return lines
    }

    private func kinds(_ lines: [String]) throws -> Set<String> { try with(lines) { Set(try HistoryCheck(path: $0).run().findings.map(\.kind)) } }

    @Test("a bank whose transfers are on both nodes or on none, as their callers were told, is sound")
    func soundBank() throws {
        #expect(try kinds(bank("ok", on: ["n1", "n2"])) == [])
        #expect(try kinds(bank("fail", on: [])) == [])
        #expect(try kinds(bank("info", on: [], outcome: "rolled_back")) == [])
        #expect(try kinds(bank(nil, on: ["n1", "n2"], outcome: "committed")) == [])
    }

    @Test("of a bank, each kind of wrong is found")
    func unsoundBank() throws {
        #expect(try kinds(bank("ok", on: [])) == ["lost-write"])
        #expect(try kinds(bank("ok", on: ["n1"])) == ["lost-write", "total"])
        #expect(try kinds(bank("fail", on: ["n1", "n2"])) == ["aborted-write"])
        #expect(try kinds(bank(nil, on: ["n2"])) == ["half-committed", "total"])
        #expect(try kinds(bank("info", on: [], outcome: "committed")) == ["wrong-outcome"])
        #expect(try kinds(bank("info", on: ["n1", "n2"], outcome: "rolled_back")) == ["wrong-outcome"])
        #expect(try kinds(bank("ok", on: ["n1", "n2"], amount: 8)) == ["garbage-write"])
        #expect(try kinds(bank("ok", on: ["n1", "n2"], total: -2_000)) == ["total", "negative", "balance"])
    }

    @Test("what recovery says of a transaction without an outcome is compared with the lists")
    func outcomes() throws {
        let id = try #require(TransactionID(Self.id))
        func findings(_ list: String, _ outcome: Outcome) throws -> [String] {
            let lines = [
                #"{"process":1,"type":"invoke","f":"txn","value":[["append",1,5]],"time":1,"transaction":"\#(Self.id)"}"#,
                #"{"process":-1,"type":"ok","f":"txn","final":true,"value":[["r",1,\#(list)]],"time":2}"#,
            ]
            return try with(lines) { OutcomeCheck(history: try HistoryCheck(path: $0).history()).findings([id: outcome]).map(\.kind) }
        }
        #expect(try findings("[5]", .committed) == [] && findings("[]", .rolledBack) == [])
        #expect(try findings("[5]", .rolledBack) == ["wrong-outcome"])
        #expect(try findings("[]", .committed) == ["wrong-outcome"])
        #expect(try findings("[]", .inDoubt) == [])
    }
}
