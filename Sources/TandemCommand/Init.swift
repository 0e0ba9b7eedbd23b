import ArgumentParser
import TandemCluster
import TandemCore

/// `tandem init`
struct Init: AsyncParsableCommand, Reporting {
    static let configuration = CommandConfiguration(
        abstract: "Prepare the databases of the configuration to be nodes.",
        discussion: "It may be run again at any time, also by several people at once; what is there already stays.")

    @OptionGroup var global: GlobalOptions

    @Flag(name: .customLong("print-sql"), help: "Print what would be executed, node by node, and change nothing.")
    var printsSQL = false

    @Option(
        name: .customLong("grant"), help: ArgumentHelp("Give this role the rights that a program needs, on every node. May be repeated.", valueName: "role"))
    var roles: [String] = []

    mutating func run() async throws {
        let initialiser = Initialiser(try global.configuration(), granting: roles, modules: SchemaModule.all)
        if printsSQL {
            let format = global.format
            let scripts = try await Interruption.cancelling("interrupted; nothing was to be changed") { try await initialiser.script() }
            return try Self.write(scripts, format)
        }
        let nodes = try await Interruption.cancelling("interrupted; each node is as it was or done, run it again") {
            try await initialiser.run()
        }
        guard global.format == .table else { return try Output.write(JSON.object([("nodes", JSON(nodes))])) }
        var table = TextTable("NODE", "NUMBER", "SCHEMA", "CHANGED")
        for node in nodes { table.add(node.name, String(node.nodeID), String(node.schemaVersion), node.isChanged ? "yes" : "no") }
        try Output.write(table)
    }

    private static func write(_ scripts: [(node: NodeName, sql: String)], _ format: OutputFormat) throws {
        switch format {
        case .json:
            try Output.write(
                JSON.object([("nodes", .array(scripts.map { .object([("name", .string($0.node.rawValue)), ("sql", .string($0.sql))]) }))]))
        case .table:
            try Output.write(text: scripts.map { "-- node \($0.node)\n\($0.sql)" }.joined(separator: "\n"))
        }
    }
}
