import ArgumentParser
import Foundation
import TandemCluster
import TandemConfiguration
import TandemCore
import TandemTransactions

extension Tx {
    /// `tandem tx show`
    struct Show: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "What the nodes know about a transaction: gid, row, state, age and the locks it blocks, node by node.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var reference: Reference

        mutating func run() async throws {
            let reference = reference
            let description = try await global.withCluster { cluster in
                try await Interruption.cancelling("interrupted") { try await cluster.describe(reference.find(in: cluster)) }
            }
            try Output.write(description, global.format)
        }
    }

    /// `tandem tx wait`
    struct Wait: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Ask for a transaction's outcome until it is known.",
            discussion: "Exit codes: 0 committed, 1 rolled back, 6 still in doubt when the time was over.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var reference: Reference

        @Option(help: "How long to go on asking, such as 30s.")
        var timeout = DurationArgument(.seconds(30))

        mutating func run() async throws {
            let reference = reference, limit = timeout.duration
            let (id, outcome) = try await global.withCluster { cluster in
                try await Interruption.cancelling("interrupted") {
                    let id = try await reference.find(in: cluster)
                    return (id, try await cluster.outcome(of: id, within: limit))
                }
            }
            switch global.format {
            case .json: try Output.write(JSON.object([("transaction", .string(id.description)), ("outcome", .string(outcome.rawValue))]))
            case .table: try Output.write(text: "transaction \(id) \(outcome.rawValue)")
            }
            switch outcome {
            case .committed: break
            case .rolledBack: throw Ending(.failed)
            case .inDoubt: throw Ending(.outcomeUnknown)
            }
        }
    }

    /// `tandem tx resolve`
    struct Resolve: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "End the prepared branches of a transaction by hand.",
            discussion: """
                For a transaction whose commit point will not come back. While the commit point answers, its row decides, and a wish against it is \
                refused (exit code 8). The reason is recorded on each node in tandem.operation.
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var reference: Reference

        /// The two ends that an operator may wish for.
        enum Wish: EnumerableFlag {
            case commit
            case rollback
        }

        @Flag(help: "What its branches do.")
        var wish: Wish

        @Option(help: "Why, for whoever reads the record.")
        var reason: String

        func validate() throws {
            if reason.allSatisfy(\.isWhitespace) { throw ValidationError("--reason needs a text: it is what the record is for.") }
        }

        mutating func run() async throws {
            let reference = reference, reason = reason
            let outcome: Outcome = wish == .commit ? .committed : .rolledBack
            let description = try await global.withCluster { cluster in
                try await Interruption.cancelling("interrupted; look what was done with `tandem tx show \(reference.id)`") {
                    try await cluster.resolve(reference.find(in: cluster), as: outcome, reason: reason)
                }
            }
            try Output.write(description, global.format)
        }
    }
}

extension Output {
    static func write(_ description: TransactionDescription, _ format: OutputFormat) throws {
        guard format == .table else { return try write(JSON(description)) }
        var text = "transaction \(description.transaction) \(description.outcome.rawValue), \(Age.text(description.ageSeconds)) old\n"
        if let node = description.commitPoint { text += "commit point \(node)\n" }
        if let coordinator = description.coordinator { text += "run by \(coordinator)\n" }
        var table = TextTable("NODE", "STATE", "ROW", "AGE", "BLOCKS", "OWNER", "GID")
        for branch in description.branches {
            table.add(
                branch.node.rawValue, branch.state, branch.row, branch.ageSeconds.map(Age.text) ?? "-", String(branch.blocked),
                branch.owner ?? "-",
                branch.gid ?? "-")
        }
        try write(text: text + table.text(isColoured: Terminal.isColoured(.standardOutput)))
    }
}
