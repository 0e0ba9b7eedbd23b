import ArgumentParser
import TandemCluster
import TandemCore
import TandemInbox

/// `tandem inbox`
struct InboxCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inbox", abstract: "Messages that consumers have given up: look, and decide.", subcommands: [List.self, Retry.self, Drop.self])

    /// `tandem inbox ls`
    struct List: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            commandName: "ls", abstract: "List messages that were given up, the oldest first.", discussion: "Exit code 3 where there are any.")

        @OptionGroup var global: GlobalOptions

        @OptionGroup var nodes: OutboxCommand.Nodes

        @Option(help: "Only those of this consumer or queue.")
        var consumer: String?

        @Option(help: "How many at most, of each node.")
        var limit = 100

        mutating func run() async throws {
            let nodes = nodes, consumer = consumer, limit = limit
            let (all, failures) = try await global.withCluster { cluster in
                try await Interruption.cancelling("interrupted") {
                    try await nodes.each(of: cluster) { try await Inbox(cluster, on: $0).dead(consumer: consumer, limit: limit) }
                }
            }
            switch global.format {
            case .json: try Output.write(JSON.object([("messages", try JSON(all))]))
            case .table:
                if all.isEmpty && failures.isEmpty { Talk.say("no message was given up") }
                var table = TextTable("MESSAGE", "NODE", "CONSUMER", "TOPIC", "KEY", "REASON", "ATTEMPTS", "SINCE", "ERROR")
                for message in all {
                    table.add(
                        message.id, message.node.rawValue, message.consumer, message.topic ?? "-", message.key ?? "-", message.reason, "\(message.attempts)",
                        message.at, message.error ?? "-")
                }
                if !table.isEmpty { try Output.write(table) }
            }
            try OutboxCommand.Nodes.end(with: failures)
            if !all.isEmpty { throw Ending(.problemFound) }
        }
    }

    /// `tandem inbox retry`
    struct Retry: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(abstract: "Put messages that were given up back into their queue, behind what waits there.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var messages: Messages

        mutating func run() async throws {
            try await InboxCommand.decide(global, messages, "are in the queue of their consumer again") { try await $0.retry(consumer: $1, ids: $2) }
        }
    }

    /// `tandem inbox drop`
    struct Drop: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(abstract: "Drop messages that were given up: they count as handled.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var messages: Messages

        mutating func run() async throws {
            try await InboxCommand.decide(global, messages, "are dropped") { try await $0.drop(consumer: $1, ids: $2) }
        }
    }

    /// Which messages a command is about.
    struct Messages: ParsableArguments {
        @Option(help: "The inbox's node.")
        var node: String

        @Argument(help: "The consumer or queue.")
        var consumer: String

        @Argument(help: "The messages' ids.")
        var ids: [String]
    }

    private static func decide(
        _ global: GlobalOptions, _ messages: Messages, _ done: String, _ body: @escaping @Sendable (Inbox, String, [String]) async throws -> Int
    ) async throws {
        try OutboxCommand.check(messages.ids)
        let name = try NodeName(messages.node), consumer = messages.consumer, ids = messages.ids
        let count = try await global.withCluster { cluster in
            try await Interruption.cancelling("interrupted; `tandem inbox ls` shows what is left") { try await body(Inbox(cluster, on: name), consumer, ids) }
        }
        switch global.format {
        case .json: try Output.write(JSON.object([("messages", .number(count))]))
        case .table: try Output.write(text: "\(count) messages \(done)")
        }
        if count == 0 { throw Ending(.notFound) }
    }
}
