import ArgumentParser
import TandemCluster
import TandemCore
import TandemOutbox

/// `tandem outbox`
struct OutboxCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "outbox", abstract: "Events that leave with the transaction that made them: publish, send, look, and decide.",
        subcommands: [Publish.self, Lag.self, List.self, Retry.self, Drop.self, Replay.self, Remove.self, Rebase.self, Run.self])

    /// Which nodes a command looks at.
    struct Nodes: ParsableArguments {
        @Option(help: "Only this node.")
        var node: String?

        /// The outboxes that are meant.
        func outboxes(of cluster: Cluster) throws -> [Outbox] {
            let names = try node.map { [try NodeName($0)] } ?? cluster.configuration.nodes.map(\.name)
            return try names.map { name in
                guard cluster.configuration.nodes.contains(where: { $0.name == name }) else {
                    throw TandemError(.unknownNode, "the cluster has no node \(name)", nextStep: "`tandem config check` lists them")
                }
                return Outbox(cluster, on: name)
            }
        }
    }

    /// `tandem outbox run`
    struct Run: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Send events to the sinks of the configuration until SIGTERM or SIGINT; the same as `tandem serve --only outbox`.",
            discussion: "Any number may run anywhere: each sink has one relay at a time, and another goes on where one dies.")

        @OptionGroup var global: GlobalOptions

        mutating func run() async throws { try await Serve.run(global, [.outbox]) }
    }
}
