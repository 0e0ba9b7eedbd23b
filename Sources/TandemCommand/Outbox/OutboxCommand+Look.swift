import ArgumentParser
import TandemCluster
import TandemConfiguration
import TandemCore
import TandemOutbox

extension OutboxCommand {
    /// `tandem outbox lag`
    struct Lag: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "How far each sink is behind each source.",
            discussion: """
                Events are numbers that were taken, those of rolled back transactions included: nothing is counted. Of tables of another outbox that the configuration names they are rows \
                that are pending, at most 100,001.
                """)

        @OptionGroup var global: GlobalOptions
        @OptionGroup var nodes: Nodes

        mutating func run() async throws {
            let nodes = nodes, sinks = try global.file().outbox.sinks
            let (all, failures) = try await global.withCluster { cluster in
                try await Interruption.cancelling("interrupted") {
                    var (all, failures) = try await nodes.each(of: cluster) { try await TandemOutbox.Outbox(cluster, on: $0).lag() }
                    // A table that is not as it should be hides nothing else.
                    for sink in sinks {
                        guard let table = sink.table else { continue }
                        let more = try await nodes.each(of: cluster) { node in
                            sink.sources.contains(node) ? [try await table.lag(of: sink.name, on: node, in: cluster)] : []
                        }
                        all += more.values
                        // Of a node that does not answer once is enough.
                        failures += more.failures.filter { new in !failures.contains { $0.node == new.node && $0.code == new.code } }
                    }
                    return (all, failures)
                }
            }
            switch global.format {
            case .json: try Output.write(JSON.object([("sinks", try JSON(all))]))
            case .table:
                if all.isEmpty && failures.isEmpty { Talk.say("no sink has read anything yet: `tandem outbox run` sends to those of the configuration") }
                var table = TextTable("SOURCE", "SINK", "EVENTS", "SECONDS", "PARKED", "DEAD", "SHARES", "RELAY")
                for lag in all {
                    table.add(
                        lag.node.rawValue, lag.sink, "\(lag.events)", "\((lag.seconds * 10).rounded() / 10)", "\(lag.parked)", "\(lag.dead)",
                        lag.shares == 1 ? "1" : "\(lag.led) of \(lag.shares)", lag.relay ?? "-")
                }
                if !table.isEmpty { try Output.write(table) }
            }
            try Nodes.end(with: failures)
        }
    }

    /// `tandem outbox ls`
    struct List: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            commandName: "ls", abstract: "List events that sinks have refused, and those that wait behind them.",
            discussion: "Exit code 3 where there are any.", aliases: ["parked"])

        @OptionGroup var global: GlobalOptions
        @OptionGroup var nodes: Nodes

        @Option(help: "Only those of this sink.")
        var sink: String?

        @Option(help: "How many at most, of each node.")
        var limit = 100

        mutating func run() async throws {
            let nodes = nodes, sink = sink, limit = limit
            let (all, failures) = try await global.withCluster { cluster in
                try await Interruption.cancelling("interrupted") {
                    try await nodes.each(of: cluster) { try await TandemOutbox.Outbox(cluster, on: $0).parked(sink: sink, limit: limit) }
                }
            }
            switch global.format {
            case .json: try Output.write(JSON.object([("events", try JSON(all))]))
            case .table:
                if all.isEmpty && failures.isEmpty { Talk.say("no event is set aside") }
                var table = TextTable("EVENT", "SOURCE", "SINK", "TOPIC", "KEY", "STATE", "ATTEMPTS", "NEXT", "ERROR")
                for event in all {
                    table.add(
                        event.id, event.node.rawValue, event.sink, event.topic, event.key ?? "-", event.state.rawValue, "\(event.attempts)", event.dueAt ?? "-",
                        event.error ?? "-")
                }
                if !table.isEmpty { try Output.write(table) }
            }
            try Nodes.end(with: failures)
            if !all.isEmpty { throw Ending(.problemFound) }
        }
    }
}
