import ArgumentParser
import Foundation
import TandemCluster
import TandemCore
import TandemMessaging
import TandemOutbox
import TandemTransactions

extension OutboxCommand {
    /// `tandem outbox publish`
    struct Publish: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Publish one event, in a transaction of its own.",
            discussion: "Programs publish in the transaction of the cause, by the function tandem.publish of the database, or `branch.publish` in Swift.")

        @OptionGroup var global: GlobalOptions

        @Argument(help: "What kind of event it is, such as order.created.")
        var topic: String

        @Option(help: "The node whose outbox it is.")
        var node: String

        @Option(help: "Whose event it is: those of one key keep their order.")
        var key: String?

        @Option(help: ArgumentHelp("The payload; @FILE reads a file, - standard input.", valueName: "json"))
        var data = "null"

        @Option(help: ArgumentHelp("A header. May be repeated.", valueName: "name=value"))
        var header: [String] = []

        func validate() throws {
            if let wrong = header.first(where: { !$0.contains("=") || $0.hasPrefix("=") }) { throw ValidationError("--header takes NAME=VALUE, not \(wrong).") }
        }

        mutating func run() async throws {
            let topic = topic, key = key, payload = try Saga.json(data, "--data"), name = try NodeName(node)
            let headers = header.map { text in
                let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
                return Event.Header(String(parts[0]), String(parts[1]))
            }
            let id = try await global.withCluster { cluster in
                try await Interruption.cancelling("interrupted; it was published or not") {
                    try await cluster[name].transaction { branch in
                        try await branch.publish(topic: topic, key: key, bytes: Array(payload.utf8), contentType: Event.json, headers: headers)
                    }
                }
            }
            let text = id.uuidString.lowercased()
            switch global.format {
            case .json: try Output.write(JSON.object([("event", .string(text))]))
            case .table: try Output.write(text: "event \(text)")
            }
        }
    }
}
