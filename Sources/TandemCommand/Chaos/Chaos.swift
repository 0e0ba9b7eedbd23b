import ArgumentParser

/// `tandem chaos`
struct Chaos: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Break nodes, coordinators and connections at random, and check what came of it.",
        discussion: """
            It works on nodes that it starts itself and on no others. The seed decides which fault happens when; how far the programs are then is up to the machine.
            """,
        subcommands: [Run.self, Replay.self, Check.self, Coordinator.self])
}
