import ArgumentParser
import Foundation
import TandemCluster
import TandemCore
import TandemOutbox

extension OutboxCommand {
    /// `tandem outbox retry`
    struct Retry: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Try events that were set aside again at once, with all attempts.",
            discussion: "Those of a key go in their order; a dead letter goes behind what was sent meanwhile.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var nodes: Nodes

        @Argument(help: "The sink.")
        var sink: String

        @Argument(help: "The events' ids; all of the sink by default.")
        var events: [String] = []

        mutating func run() async throws {
            let sink = sink, events = events
            try OutboxCommand.check(events)
            try await OutboxCommand.decide(global, nodes, "are tried again") { try await $0.retry(sink: sink, ids: events.isEmpty ? nil : events) }
        }
    }

    /// `tandem outbox drop`
    struct Drop: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Drop events that were set aside: the sink never gets them.", discussion: "The later ones of their keys flow on.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var nodes: Nodes

        @Argument(help: "The sink.")
        var sink: String

        @Argument(help: "The events' ids.")
        var events: [String]

        mutating func run() async throws {
            let sink = sink, events = events
            try OutboxCommand.check(events)
            try await OutboxCommand.decide(global, nodes, "are dropped") { try await $0.drop(sink: sink, ids: events) }
        }
    }

    /// Looks whether ids can be those of events.
    static func check(_ ids: [String]) throws {
        for id in ids where UUID(uuidString: id) == nil { throw ValidationError("\(id) is not an id: `ls` shows them.") }
    }

    private static func decide(_ global: GlobalOptions, _ nodes: Nodes, _ done: String, _ body: @escaping @Sendable (Outbox) async throws -> Int) async throws {
        let (counts, failures) = try await global.withCluster { cluster in
            try await Interruption.cancelling("interrupted; `tandem outbox ls` shows what is left") {
                try await nodes.each(of: cluster) { [try await body(Outbox(cluster, on: $0))] }
            }
        }
        let count = counts.reduce(0, +)
        switch global.format {
        case .json: try Output.write(JSON.object([("events", .number(count))]))
        case .table: try Output.write(text: "\(count) events \(done)")
        }
        try Nodes.end(with: failures)
        if count == 0 { throw Ending(.notFound) }
    }

    /// `tandem outbox replay`
    struct Replay: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Send a sink everything again that was committed since a time.",
            discussion: "They are duplicates, which a handler that receives them knows by their ids. The begin is at most ten seconds or so before the time.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var nodes: Nodes

        @Argument(help: "The sink.")
        var sink: String

        @Option(help: "Since how long ago, such as 2h.")
        var since: DurationArgument

        mutating func run() async throws {
            let nodes = nodes, sink = sink, age = since.duration
            let (starts, failures) = try await global.withCluster { cluster in
                try await Interruption.cancelling("interrupted; some sources are replayed or none") {
                    try await nodes.each(of: cluster) { node -> [(NodeName, String)] in
                        let outbox = Outbox(cluster, on: node)
                        guard try await outbox.lag().contains(where: { $0.sink == sink }) else { return [] }
                        return [(node, try await outbox.replay(sink: sink, since: age))]
                    }
                }
            }
            if starts.isEmpty && failures.isEmpty {
                throw TandemError(.notFound, "no node knows the sink \(sink)", nextStep: "`tandem outbox lag` lists the sinks")
            }
            switch global.format {
            case _ where starts.isEmpty: break
            case .json:
                try Output.write(JSON.object([("replayed", .object(starts.map { ($0.0.rawValue, .string($0.1)) }))]))
            case .table: for (node, start) in starts { try Output.write(text: "\(node): everything since \(start) is sent again") }
            }
            try Nodes.end(with: failures)
        }
    }

    /// `tandem outbox remove`
    struct Remove: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Forget a sink that is no longer in any configuration: as long as it is known, all that it has not got is kept.",
            discussion: "What it has refused goes with it. Refused without --yes.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var nodes: Nodes

        @Argument(help: "The sink.")
        var sink: String

        @Flag(help: "Yes, nobody sends to it any more.")
        var yes = false

        func validate() throws {
            if !yes { throw ValidationError("Say --yes when no relay sends to it any more.") }
        }

        mutating func run() async throws {
            let nodes = nodes, sink = sink
            let (removed, failures) = try await global.withCluster { cluster in
                try await Interruption.cancelling("interrupted; `tandem outbox lag` shows what is left") {
                    try await nodes.each(of: cluster) { try await Outbox(cluster, on: $0).remove(sink: sink) ? [$0] : [] }
                }
            }
            switch global.format {
            case .json: try Output.write(JSON.object([("nodes", .array(removed.map { .string($0.rawValue) }))]))
            case .table: for node in removed { try Output.write(text: "\(node): the sink \(sink) is forgotten") }
            }
            try Nodes.end(with: failures)
            if removed.isEmpty { throw TandemError(.notFound, "no node knows the sink \(sink)", nextStep: "`tandem outbox lag` lists the sinks") }
        }
    }

    /// `tandem outbox rebase`
    struct Rebase: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Go on after a node was restored into another server: decide from which event on they are sent.",
            discussion: """
                Nobody knows what of the restored events was sent. Those up to --from are removed, the others are sent to every sink. Nobody may publish on the node meanwhile. \
                Refused without --yes.
                """)

        @OptionGroup var global: GlobalOptions

        @Option(help: "The node.")
        var node: String

        @Option(name: .customLong("from"), help: "The number of the last event that is not sent; 0 sends all that is there.")
        var sequence: Int64

        @Flag(help: "Yes, nobody publishes there now.")
        var yes = false

        func validate() throws {
            if !yes { throw ValidationError("Say --yes when nobody publishes on the node.") }
        }

        mutating func run() async throws {
            let name = try NodeName(node), sequence = sequence
            let count = try await global.withCluster { cluster in
                try await Interruption.cancelling("interrupted; it is rebased or not, and may be again") {
                    try await Outbox(cluster, on: name).rebase(from: sequence)
                }
            }
            switch global.format {
            case .json: try Output.write(JSON.object([("events", .number(count))]))
            case .table: try Output.write(text: "\(count) events will be sent")
            }
        }
    }
}
