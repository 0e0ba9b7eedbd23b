import ArgumentParser
import Foundation
import TandemCluster
import TandemConfiguration
import TandemCore
import TandemLocal

extension Dev {
    /// `tandem dev start`, or simply `tandem dev`
    struct Start: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Start local PostgreSQL nodes, initialise them, and write their tandem.yaml.",
            discussion: """
                It works offline and without containers, and stays in the foreground until Ctrl-C; the nodes end with it. Not for production.
                A second start in the same folder finds the nodes of the first and ends at once.
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var folder: Folder

        @Option(help: "How many nodes, n1 to nN; those that the folder holds by default, and three in a new one.")
        var nodes: Int?

        @Flag(help: "Keep the data in memory, and remove it at the end.")
        var ephemeral = false

        @Flag(help: "Leave the nodes running in the background; `tandem dev stop` ends them.")
        var detach = false

        @Option(help: "The account that the servers run as where this is root, which PostgreSQL refuses.")
        var user = "postgres"

        @Option(
            name: .customLong("pg-bin"),
            help: ArgumentHelp("The folder of initdb and postgres; else $TANDEM_PG_BIN; else searched for.", valueName: "folder"))
        var postgresBin: String?

        func validate() throws {
            if let nodes, !(1...64).contains(nodes) { throw ValidationError("--nodes takes a number from 1 to 64.") }
        }

        mutating func run() async throws {
            var options = LocalClusterOptions(directory: folder.path, nodeCount: nodes, isEphemeral: ephemeral, isDetached: detach)
            options.user = user
            options.postgresBin = postgresBin
            let session = DevSession(options: options, configuration: folder.configuration, suffix: folder.suffix, format: global.format)
            try await Interruption.cancelling("stopping the nodes") { try await session.run() }
        }
    }
}

/// One `tandem dev`: from the start of the nodes to their end.
struct DevSession: Sendable {
    let options: LocalClusterOptions
    let configuration: DevConfiguration
    /// What a command that is advised says of the folder.
    let suffix: String
    let format: OutputFormat

    func run() async throws {
        try configuration.check()
        let began = ContinuousClock.now
        let cluster = try await LocalCluster.start(options)
        do {
            if !configuration.describes(cluster) {
                _ = try await Initialiser(try clusterConfiguration(cluster), modules: SchemaModule.all).run()
                try configuration.write(cluster)
            }
            try announce(cluster, after: ContinuousClock.now - began)
            guard cluster.isOwner, !options.isDetached else { return }
            await Self.untilEnd(of: cluster)
            guard cluster.isRunning else { return Talk.say("somebody else stopped the nodes") }
        } catch {
            // Nodes that were there before stay; of those started here nothing is left, as when the start itself fails.
            if cluster.isOwner { try? await configuration.stop(cluster) }
            throw error
        }
        try await configuration.stop(cluster)
        Talk.say("the nodes are stopped\(cluster.isOwner && !options.isEphemeral ? "; their data is kept in \(cluster.directory)" : "")")
    }

    private func clusterConfiguration(_ cluster: LocalCluster) throws -> ClusterConfiguration {
        try ClusterConfiguration("dev", nodes: cluster.nodes.map { NodeConfiguration($0.name, conninfo: $0.conninfo) })
    }

    /// Returns when the task is cancelled (by a signal), or when somebody else has stopped the nodes, who tells nobody: so it is looked at.
    private static func untilEnd(of cluster: LocalCluster) async {
        for await _ in Ticks(every: .milliseconds(500)) where !cluster.isRunning { return }
    }

    // MARK: What is said

    private func announce(_ cluster: LocalCluster, after time: Duration) throws {
        switch format {
        case .json:
            try Output.write(
                JSON.object([
                    ("ready", .bool(true)), ("config", .string(configuration.path)),
                    ("nodes", .array(cluster.nodes.map { .object([("name", .string($0.name.rawValue)), ("url", .string($0.url))]) })),
                ]))
        case .table: try Output.write(text: text(cluster, after: time))
        }
    }

    private func text(_ cluster: LocalCluster, after time: Duration) -> String {
        let seconds = (Double(time.components.seconds) + Double(time.components.attoseconds) / 1e18).formatted(
            .number.precision(.fractionLength(1)))
        let width = cluster.nodes.map(\.name.rawValue.count).max() ?? 0
        let nodes = cluster.nodes.map { node in
            "  \(node.name.rawValue.padding(toLength: width, withPad: " ", startingAt: 0))  \(node.url)\n      log \(node.logFile)"
        }
        let kept =
            options.isEphemeral ? "in memory, removed at the end" : "kept in \(cluster.directory) (tandem dev reset\(suffix) removes it)"
        let example = cluster.nodes.count > 1 ? cluster.nodes[1].name : cluster.nodes[0].name
        let end = cluster.isOwner && !options.isDetached ? "Ctrl-C stops the nodes." : "stop:   tandem dev stop\(suffix)"
        return """
            \(cluster.nodes.count) PostgreSQL nodes are ready\(cluster.isOwner ? " after \(seconds) s" : " (they were running already)"), initialised as the cluster dev.

            \(nodes.joined(separator: "\n"))

            config: \(configuration.path)
            data:   \(kept)
            Not for production: all nodes share one machine, and their passwords lie in \(cluster.directory).

            use:    export TANDEM_CONFIG=\(configuration.path)
            try:    tandem dev fault kill \(example)\(suffix)
            \(end)
            """
    }
}
