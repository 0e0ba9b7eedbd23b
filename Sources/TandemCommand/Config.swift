import ArgumentParser
import Tandem
import TandemCore
import TandemConfiguration

/// `tandem config`
struct Config: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look at the configuration.", subcommands: [Check.self, Show.self])

    /// `tandem config check`
    struct Check: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Read the configuration and say what is wrong with it; connects to nothing.")

        @OptionGroup var global: GlobalOptions

        mutating func run() async throws {
            let cluster = try global.configuration()
            switch global.format {
            case .json: try Output.write(JSON.object([("valid", .bool(true)), ("cluster", .string(cluster.name.rawValue))]))
            case .table: try Output.write(text: "\(global.path()) is valid: cluster \(cluster.name) with \(cluster.nodes.count) nodes")
            }
        }
    }

    /// `tandem config show`
    struct Show: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(abstract: "Print the nodes as the configuration has them, without passwords.")

        @OptionGroup var global: GlobalOptions

        mutating func run() async throws {
            let cluster = try global.configuration()
            let nodes = cluster.nodes.map { ($0, $0.address) }
            switch global.format {
            case .json:
                try Output.write(
                    JSON.object([
                        ("cluster", .string(cluster.name.rawValue)),
                        (
                            "nodes",
                            .array(
                                nodes.map { node, address in
                                    .object([
                                        ("name", .string(node.name.rawValue)), ("host", .string(address.host)),
                                        ("port", .string(address.port)),
                                        ("database", .string(address.database)), ("user", .string(address.user)),
                                        ("role", .string(orNull: node.role)), ("pooler", .string(node.pooler.rawValue)),
                                        ("maximum", .number(node.pool.maximum)), ("commitPointStrength", .number(node.commitPointStrength)),
                                    ])
                                })
                        ),
                    ]))
            case .table:
                var table = TextTable("NODE", "HOST", "PORT", "DATABASE", "USER", "CONNECTIONS")
                for (node, address) in nodes {
                    table.add(node.name.rawValue, address.host, address.port, address.database, address.user, String(node.pool.maximum))
                }
                try Output.write(table)
            }
        }
    }
}
