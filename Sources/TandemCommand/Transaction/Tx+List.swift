import ArgumentParser
import TandemCluster
import TandemCore
import TandemTransactions

extension Tx {
    /// `tandem tx ls`
    struct List: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            commandName: "ls", abstract: "The transactions that have a prepared branch somewhere, the oldest first, and those that contradict themselves.",
            discussion: """
                A contradiction is a transaction that is committed on some of its nodes only: a failover lost a part of it, or somebody ended a branch against the \
                decision. It stays here until it is accepted (tandem audit --accept). Exit codes: 3 where there is one, else 5 where a node did not answer, on \
                which there may be more.
                """)

        @OptionGroup var global: GlobalOptions

        @Flag(name: .customLong("in-doubt"), help: "Only those of which some branch still waits for the decision to arrive.")
        var isInDoubtOnly = false

        mutating func run() async throws {
            let isInDoubtOnly = isInDoubtOnly
            let (transactions, contradictions, unreachable) = try await global.withCluster { cluster in
                try await Interruption.cancelling("interrupted") {
                    let (transactions, unreachable) = await cluster.transactionsInDoubt()
                    let known = await cluster.contradictions()
                    try Task.checkCancellation()
                    let others = known.unreachable.filter { node in !unreachable.contains { $0.node == node.node } }
                    return (transactions.filter { !isInDoubtOnly || $0.isInDoubt }, known.found, unreachable + others)
                }
            }
            for node in unreachable { Talk.say("node \(node.node) cannot be asked: \(node.reason)") }
            switch global.format {
            case .json:
                try Output.write(
                    JSON.object([("transactions", JSON(transactions)), ("contradictions", JSON(contradictions)), ("unreachable", JSON(unreachable))]))
            case .table: try Self.write(transactions, contradictions)
            }
            // Whatever more there may be: what is known to be wrong comes first.
            if !contradictions.isEmpty { throw Ending(.problemFound) }
            if !unreachable.isEmpty { throw Ending(.unreachable) }
        }

        private static func write(_ transactions: [TransactionDescription], _ contradictions: [Contradiction]) throws {
            if !contradictions.isEmpty {
                Talk.say("\(contradictions.count) contradict themselves: compare their data, mend it, then `tandem audit --accept ID --reason TEXT`")
                try Output.write(contradictions.table)
            }
            guard !transactions.isEmpty else { return Talk.say("no transaction is in doubt") }
            var table = TextTable("TRANSACTION", "OUTCOME", "AGE", "COMMIT POINT", "PREPARED ON", "BLOCKS")
            for transaction in transactions {
                let prepared = transaction.branches.filter { $0.state == "prepared" }
                table.add(
                    String(transaction.transaction.description.suffix(8)), transaction.outcome.rawValue, Age.text(transaction.ageSeconds),
                    transaction.commitPoint?.rawValue ?? "-", prepared.map(\.node.rawValue).joined(separator: ","),
                    String(transaction.branches.reduce(0) { $0 + $1.blocked }))
            }
            try Output.write(table)
        }
    }
}

/// How long something has been so, for people.
enum Age {
    static func text(_ seconds: Double) -> String {
        let whole = Int(max(0, min(seconds, 1e15)))
        if whole < 120 { return "\(whole)s" }
        if whole < 7200 { return "\(whole / 60)m" }
        return whole < 172_800 ? "\(whole / 3600)h" : "\(whole / 86_400)d"
    }
}
