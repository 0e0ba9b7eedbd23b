import ArgumentParser
import TandemCluster
import TandemCore
import TandemOutbox

extension OutboxCommand {
    /// `tandem outbox lag`
    struct Lag: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "How far each sink is behind each source.",
            discussion: "Events are numbers that were taken, those of rolled back transactions included: nothing is counted.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var nodes: Nodes

        mutating func run() async throws {
            let nodes = nodes
            let all = try await global.withCluster { cluster in
                try await Interruption.cancelling("interrupted") {
                    var all: [OutboxLag] = []
                    for outbox in try nodes.outboxes(of: cluster) { all += try await outbox.lag() }
                    return all
                }
            }
            switch global.format {
            case .json: try Output.write(JSON.object([("sinks", try JSON(all))]))
            case .table:
                guard !all.isEmpty else { return Talk.say("no sink has read anything yet: `tandem outbox run` sends to those of the configuration") }
                var table = TextTable("SOURCE", "SINK", "EVENTS", "SECONDS", "PARKED", "DEAD", "RELAY")
                for lag in all {
                    table.add(
                        lag.node.rawValue, lag.sink, "\(lag.events)", "\((lag.seconds * 10).rounded() / 10)", "\(lag.parked)", "\(lag.dead)", lag.relay ?? "-")
                }
                try Output.write(table)
            }
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
            let all = try await global.withCluster { cluster in
                try await Interruption.cancelling("interrupted") {
                    var all: [ParkedEvent] = []
                    for outbox in try nodes.outboxes(of: cluster) { all += try await outbox.parked(sink: sink, limit: limit) }
                    return all
                }
            }
            switch global.format {
            case .json: try Output.write(JSON.object([("events", try JSON(all))]))
            case .table:
                guard !all.isEmpty else { return Talk.say("no event is set aside") }
                var table = TextTable("EVENT", "SOURCE", "SINK", "TOPIC", "KEY", "STATE", "ATTEMPTS", "NEXT", "ERROR")
                for event in all {
                    table.add(
                        event.id, event.node.rawValue, event.sink, event.topic, event.key ?? "-", event.state.rawValue, "\(event.attempts)", event.dueAt ?? "-",
                        event.error ?? "-")
                }
                try Output.write(table)
            }
            if !all.isEmpty { throw Ending(.problemFound) }
        }
    }
}
