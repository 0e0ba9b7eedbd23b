import Foundation
import TandemCore

/// Checks a history of transfers against what is on the nodes at its end.
///
/// The sum over all accounts is what it was; each acknowledged transfer stands in the ledgers of both of its nodes, each refused one in none, one of
/// unknown outcome in both or in none, as recovery said; no account is below zero, and each has what its ledger says.
struct BankChecker {
    private struct Event: Decodable {
        let type: String
        let f: String
        let transaction: TransactionID?
        let node: NodeName?
    }

    private struct Transfers: Decodable { let value: BankWorkload.Transfer }
    private struct Balances: Decodable { let value: [Int] }
    private struct Outcomes: Decodable { let value: Outcome }
    private struct Entries: Decodable { let value: Entry }

    /// `[transaction, account, amount]`.
    struct Entry: Decodable, Hashable {
        let transaction: TransactionID
        let account: Int
        let amount: Int

        init(transaction: TransactionID, account: Int, amount: Int) {
            self.transaction = transaction
            self.account = account
            self.amount = amount
        }

        init(from decoder: any Decoder) throws {
            var values = try decoder.unkeyedContainer()
            transaction = try values.decode(TransactionID.self)
            account = try values.decode(Int.self)
            amount = try values.decode(Int.self)
        }
    }

    private enum End { case acknowledged, refused, unknown }

    private var transfers: [TransactionID: (transfer: BankWorkload.Transfer, end: End)] = [:]
    private var outcomes: [TransactionID: Outcome] = [:]
    private var balances: [NodeName: [Int]] = [:]
    private var ledgers: [NodeName: [Entry]] = [:]
    private var findings: [Finding] = []

    /// - Parameter lines: The history, a line each.
    /// - Throws: `configurationInvalid` with the number of a line that is no event.
    init(_ lines: [Substring]) throws {
        let decoder = JSONDecoder()
        for (number, line) in lines.enumerated() {
            do { try add(Data(line.utf8), decoder) } catch {
                throw TandemError(.configurationInvalid, "line \(number + 1) of the history is no event of a bank: \(error)", cause: error)
            }
        }
    }

    /// Whether the history says what was there at its end.
    var isFinished: Bool { !balances.isEmpty }

    /// How many transfers were sent.
    var count: Int { transfers.count }

    private mutating func add(_ line: Data, _ decoder: JSONDecoder) throws {
        let event = try decoder.decode(Event.self, from: line)
        switch (event.f, event.type, event.transaction, event.node) {
        case ("transfer", "invoke", let transaction?, _):
            transfers[transaction] = (try decoder.decode(Transfers.self, from: line).value, .unknown)
        case ("transfer", "ok", let transaction?, _): transfers[transaction]?.end = .acknowledged
        case ("transfer", "fail", let transaction?, _): transfers[transaction]?.end = .refused
        case ("outcome", _, let transaction?, _): outcomes[transaction] = try decoder.decode(Outcomes.self, from: line).value
        case ("balances", _, _, let node?): balances[node] = try decoder.decode(Balances.self, from: line).value
        case ("ledger", _, _, let node?): ledgers[node, default: []].append(try decoder.decode(Entries.self, from: line).value)
        default: break
        }
    }

    /// - Returns: What is wrong.
    mutating func check() -> [Finding] {
        guard isFinished else { return [] }
        let total = balances.values.joined().reduce(0, +), expected = balances.count * BankWorkload.accounts * BankWorkload.balance
        if total != expected { find("total", "all accounts together hold \(total) and not \(expected)") }
        for (node, accounts) in balances.sorted(by: { $0.key < $1.key }) { check(node, accounts) }
        var entries: [TransactionID: [NodeName: [Entry]]] = [:]
        for (node, ledger) in ledgers {
            for entry in ledger { entries[entry.transaction, default: [:]][node, default: []].append(entry) }
        }
        for (transaction, (transfer, end)) in transfers.sorted(by: { $0.key < $1.key }) {
            check(transaction, transfer, end, entries.removeValue(forKey: transaction) ?? [:])
        }
        for (transaction, where_) in entries.sorted(by: { $0.key < $1.key }) {
            find("garbage-write", "\(where_.keys.sorted().map(\.rawValue).joined(separator: ", ")) has an entry of \(transaction), which nobody sent")
        }
        return findings
    }

    private mutating func check(_ node: NodeName, _ accounts: [Int]) {
        var sums = [Int](repeating: BankWorkload.balance, count: accounts.count)
        for entry in ledgers[node] ?? [] where sums.indices.contains(entry.account - 1) { sums[entry.account - 1] += entry.amount }
        for (index, balance) in accounts.enumerated() {
            if balance < 0 { find("negative", "account \(index + 1) on \(node) holds \(balance)") }
            if balance != sums[index] { find("balance", "account \(index + 1) on \(node) holds \(balance), and its ledger says \(sums[index])") }
        }
    }

    private mutating func check(_ transaction: TransactionID, _ transfer: BankWorkload.Transfer, _ end: End, _ found: [NodeName: [Entry]]) {
        let wanted = [
            transfer.from: Entry(transaction: transaction, account: transfer.fromAccount, amount: -transfer.amount),
            transfer.to: Entry(transaction: transaction, account: transfer.toAccount, amount: transfer.amount),
        ]
        for (node, entries) in found where entries != [wanted[node]].compactMap(\.self) {
            find("garbage-write", "\(node) has other entries of \(transaction) than were sent")
        }
        let present = wanted.keys.filter { found[$0] != nil }.sorted()
        let text = "\(transaction) (\(transfer.amount) from \(transfer.from) to \(transfer.to))"
        let on = present.isEmpty ? "on none" : "on \(present.map(\.rawValue).joined(separator: " and "))"
        switch (end, outcomes[transaction]) {
        case (.acknowledged, _) where present.count < 2: find("lost-write", "\(text) was acknowledged and is \(on)")
        case (.refused, _) where !present.isEmpty: find("aborted-write", "\(text) was rolled back for its caller and is \(on)")
        case (.unknown, _) where present.count == 1: find("half-committed", "\(text) is \(on) only")
        case (.unknown, .committed?) where present.isEmpty: find("wrong-outcome", "\(text) is committed, as recovery says, and is on none")
        case (.unknown, .rolledBack?) where !present.isEmpty: find("wrong-outcome", "\(text) is rolled back, as recovery says, and is \(on)")
        case (.acknowledged, _), (.refused, _), (.unknown, _): break
        }
    }

    private mutating func find(_ kind: String, _ message: String) { findings.append(Finding(kind: kind, isViolation: true, message: message)) }
}
