import ArgumentParser
import TandemCluster
import TandemCore

/// `tandem uninstall`
struct Uninstall: AsyncParsableCommand, Reporting {
    static let configuration = CommandConfiguration(
        abstract: "Remove Tandem's schema from every node of the configuration.",
        discussion: """
            Refused (exit code 8) while a transaction is undecided or its tables are in use; with the schema go the register and what operators \
            recorded. Your own tables stay as they are.
            """)

    @OptionGroup var global: GlobalOptions

    @Flag(help: "Really do it. Nothing is asked.")
    var yes = false

    func validate() throws {
        if !yes { throw ValidationError("This removes the register and the operators' records on every node. Say --yes to do it.") }
    }

    mutating func run() async throws {
        let initialiser = Initialiser(try global.configuration(), modules: SchemaModule.all)
        let nodes = try await Interruption.cancelling("interrupted; each node is as it was or done, run it again") {
            try await initialiser.uninstall()
        }
        switch global.format {
        case .json:
            try Output.write(
                JSON.object([("nodes", .array(nodes.map { .object([("name", .string($0.node.rawValue)), ("removed", .bool($0.isRemoved))]) }))]))
        case .table:
            var table = TextTable("NODE", "REMOVED")
            for node in nodes { table.add(node.node.rawValue, node.isRemoved ? "yes" : "nothing was there") }
            try Output.write(table)
        }
    }
}
