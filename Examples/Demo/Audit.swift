import Tandem

/// Compares what the databases hold with what was said about each transfer.
struct Audit: Sendable {
    /// One thing that must hold, and what was found.
    struct Check: Sendable {
        let claim: String
        let finding: String?
    }

    let bank: Bank
    let moneyBefore: Int64
    let fates: [Int64: Tally.Fate]
    let transfers: [Int64: Bank.Transfer]

    func run() async throws -> (checks: [Check], money: Int64, prepared: Int) {
        var ledgers: [NodeName: [Bank.Entry]] = [:]
        var balances: [NodeName: [Int: Int64]] = [:]
        for node in bank.nodes {
            ledgers[node] = try await bank.ledger(node)
            balances[node] = try await bank.balances(node)
        }
        let money = balances.values.reduce(0) { $0 + $1.values.reduce(0, +) }
        let prepared = try await bank.prepared()
        let checks = [
            Check(claim: "no money was made or lost", finding: money == moneyBefore ? nil : "\(moneyBefore) before, \(money) after"),
            Check(claim: "every committed transfer is there, once, on all its nodes", finding: wrong(.committed, parts: true, ledgers)),
            Check(claim: "no rolled back transfer left anything on any node", finding: wrong(.rolledBack, parts: false, ledgers)),
            Check(claim: "every transfer in a ledger is one that was sent, whole", finding: halves(ledgers)),
            Check(claim: "every balance is what the ledger says", finding: unbalanced(ledgers, balances)),
            Check(claim: "nothing is left prepared", finding: prepared == 0 ? nil : "\(prepared) prepared transactions"),
        ]
        return (checks, money, prepared)
    }

    /// Transfers of one fate that are not there as they should be.
    private func wrong(_ fate: Tally.Fate, parts isThere: Bool, _ ledgers: [NodeName: [Bank.Entry]]) -> String? {
        let found = Self.byNumber(ledgers)
        let wrong = fates.filter { $0.value == fate }.keys.filter { number in
            guard isThere else { return found[number] != nil }
            return found[number] != transfers[number].map(Self.entries)
        }
        return Self.some(wrong)
    }

    private func halves(_ ledgers: [NodeName: [Bank.Entry]]) -> String? {
        Self.some(Self.byNumber(ledgers).filter { number, entries in entries != transfers[number].map(Self.entries) }.map(\.key))
    }

    private func unbalanced(_ ledgers: [NodeName: [Bank.Entry]], _ balances: [NodeName: [Int: Int64]]) -> String? {
        var wrong: [String] = []
        for node in bank.nodes {
            var expected: [Int: Int64] = [:]
            for entry in ledgers[node] ?? [] { expected[entry.account, default: 0] += entry.amount }
            for (account, balance) in balances[node] ?? [:] where balance != Bank.balance + expected[account, default: 0] {
                wrong.append("\(node)/\(account)")
            }
        }
        return wrong.isEmpty ? nil : "\(wrong.count) accounts, among them \(wrong.sorted().prefix(3).joined(separator: ", "))"
    }

    /// What the ledgers hold, by transfer and node. The primary key keeps a number from standing twice on a node.
    private static func byNumber(_ ledgers: [NodeName: [Bank.Entry]]) -> [Int64: [NodeName: Bank.Entry]] {
        var found: [Int64: [NodeName: Bank.Entry]] = [:]
        for (node, entries) in ledgers {
            for entry in entries { found[entry.number, default: [:]][node] = entry }
        }
        return found
    }

    private static func entries(_ transfer: Bank.Transfer) -> [NodeName: Bank.Entry] {
        Dictionary(
            uniqueKeysWithValues: transfer.parts.map {
                ($0.node, Bank.Entry(number: transfer.number, account: $0.account, amount: $0.amount))
            })
    }

    private static func some(_ numbers: [Int64]) -> String? {
        numbers.isEmpty
            ? nil : "\(numbers.count) transfers, among them \(numbers.sorted().prefix(3).map(String.init).joined(separator: ", "))"
    }
}
