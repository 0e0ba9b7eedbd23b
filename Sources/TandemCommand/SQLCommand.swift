import ArgumentParser
import Foundation
import TandemCluster
import TandemCore
import TandemTransactions

/// `tandem sql`
struct SQLCommand: AsyncParsableCommand, Reporting {
    static let configuration = CommandConfiguration(
        commandName: "sql", abstract: "Run the statements of a file on one node, or on each of all nodes.",
        discussion: """
            On each node the file is one transaction: all of its statements, or none. Over several nodes it is no global transaction: a node that fails \
            stays as it was, and the others go on. For DDL that every node needs. What no transaction can hold (vacuuming, an index made concurrently) is \
            run with --single, each statement on its own, up to the first that fails.
            Exit codes: 0 done everywhere, 1 a node refused it, 2 nothing was sent, 5 a node is unreachable, 6 a node did not answer the commit.
            """)

    @OptionGroup var global: GlobalOptions

    @Argument(help: "The file; `-` is standard input. Statements end with a semicolon.", completion: .file())
    var file: String

    @Flag(help: "On every node of the configuration.")
    var all = false

    @Option(help: "On this node. May be repeated.")
    var node: [String] = []

    @Flag(help: "Each statement on its own, without a transaction around them.")
    var single = false

    @Option(help: "How long each node may take.")
    var timeout = DurationArgument(.seconds(300))

    func validate() throws {
        guard all != !node.isEmpty else { throw ValidationError("Say either --all or --node NAME.") }
    }

    mutating func run() async throws {
        let script = try SQLScript.load(path: file)
        let isSingle = single, timeout = timeout.duration, names = node
        let ends = try await global.withCluster { cluster in
            let nodes = try names.isEmpty ? cluster.configuration.nodes.map(\.name) : names.map { try NodeName($0) }
            return try await Interruption.cancelling("interrupted: each node is as it was, or done") {
                try await script.run(on: nodes, of: cluster, isSingle: isSingle, timeout: timeout)
            }
        }
        try write(ends)
        let codes = ends.compactMap { $0.error?.exitCode }
        if let code = codes.contains(.outcomeUnknown) ? .outcomeUnknown : codes.first { throw Ending(code) }
    }

    private func write(_ ends: [SQLScript.End]) throws {
        for end in ends { if let error = end.error { Talk.say(error) } }
        switch global.format {
        case .json:
            try Output.write(
                JSON.object([
                    (
                        "nodes",
                        .array(
                            ends.map { end in
                                .object(
                                    [
                                        ("name", .string(end.node.rawValue)), ("statements", .number(end.statements)),
                                        ("rows", .array(end.rows.map { .number($0) })),
                                    ] + (end.error.map { [("error", .error($0))] } ?? []))
                            })
                    )
                ]))
        case .table:
            var table = TextTable("NODE", "STATEMENTS", "ROWS", "STATE")
            for end in ends {
                table.add(
                    end.node.rawValue, String(end.statements), end.rows.map(String.init).joined(separator: ","),
                    end.error == nil ? "ok" : end.error?.exitCode == .outcomeUnknown ? "in_doubt" : "failed")
            }
            try Output.write(table)
        }
    }
}
