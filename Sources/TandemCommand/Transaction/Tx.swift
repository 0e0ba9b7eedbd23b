import ArgumentParser

/// `tandem tx`
struct Tx: AsyncParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Run transactions, and look at those in doubt.", subcommands: [Run.self])
}
