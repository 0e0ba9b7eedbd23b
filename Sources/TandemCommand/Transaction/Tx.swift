import ArgumentParser
import TandemCluster
import TandemCore
import TandemTransactions

/// `tandem tx`
struct Tx: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run transactions, and look at those in doubt.", subcommands: [Run.self, List.self, Show.self, Wait.self, Resolve.self])

    /// Which transaction a command is about.
    struct Reference: ParsableArguments {
        @Argument(help: "The transaction's id, or six or more characters of its end.")
        var id: String

        func find(in cluster: Cluster) async throws -> TransactionID { try await cluster.find(suffix: id) }
    }
}
