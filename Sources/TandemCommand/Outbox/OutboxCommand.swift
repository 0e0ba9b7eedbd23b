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

        private func names(of cluster: Cluster) throws -> [NodeName] {
            let all = cluster.configuration.nodes.map(\.name)
            guard let name = try node.map({ try NodeName($0) }) else { return all }
            guard all.contains(name) else {
                throw TandemError(.unknownNode, "the cluster has no node \(name)", nextStep: "`tandem config check` lists them")
            }
            return [name]
        }

        /// Asks each node; one that does not answer leaves the others' answers as they are.
        ///
        /// - Parameters:
        ///   - cluster: whose nodes they are.
        ///   - body: asks one.
        /// - Returns: what they have answered, and the errors of the others.
        /// - Throws: `unknownNode`; `CancellationError`.
        func each<Value>(of cluster: Cluster, _ body: (NodeName) async throws -> [Value]) async throws -> (values: [Value], failures: [TandemError]) {
            var values: [Value] = [], failures: [TandemError] = []
            for name in try names(of: cluster) {
                do { values += try await body(name) } catch let error as TandemError { failures.append(error) }
            }
            return (values, failures)
        }

        /// Ends a command that has said what it knows.
        static func end(with failures: [TandemError]) throws {
            for failure in failures.dropFirst() { Talk.say("\(failure)") }
            if let failure = failures.first { throw failure }
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
