import ArgumentParser
import Foundation
import TandemCore
import TandemLocal

/// `tandem dev`
struct Dev: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Real local PostgreSQL nodes for development and tests.",
        subcommands: [Start.self, Status.self, Stop.self, Reset.self, Psql.self, Fault.self],
        defaultSubcommand: Start.self)

    /// The folder that every one of these commands is about.
    struct Folder: ParsableArguments {
        @Option(help: ArgumentHelp("The folder of the nodes.", valueName: "folder"))
        var dir = Self.standard

        private static let standard = ".tandem/dev"

        /// From the root on, since what is printed is used elsewhere.
        var path: String {
            let start = dir.hasPrefix("/") ? dir : "\(FileManager.default.currentDirectoryPath)/\(dir)"
            return URL(fileURLWithPath: start).standardizedFileURL.path
        }

        /// What a command that is advised says of the folder: nothing where it is the default one.
        var suffix: String { dir == Self.standard ? "" : " --dir \(dir)" }

        var configuration: DevConfiguration { DevConfiguration(directory: path) }

        func attach() async throws -> LocalCluster { try await LocalCluster.attach(directory: path) }
    }

    /// `tandem dev status`
    struct Status: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(abstract: "What each node is doing.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var folder: Folder

        mutating func run() async throws {
            let cluster = try await folder.attach()
            let nodes = zip(cluster.nodes, cluster.status())
            switch global.format {
            case .json:
                try Output.write(
                    JSON.object([
                        ("running", .bool(cluster.isRunning)), ("config", .string(folder.configuration.path)),
                        (
                            "nodes",
                            .array(
                                nodes.map { node, status in
                                    .object([
                                        ("name", .string(node.name.rawValue)), ("state", .string(status.state.rawValue)),
                                        ("port", .number(node.port)),
                                        ("process", status.processID.map { .number(Int($0)) } ?? .null), ("log", .string(node.logFile)),
                                    ])
                                })
                        ),
                    ]))
            case .table:
                var table = TextTable("NODE", "STATE", "PORT", "PROCESS", "LOG")
                for (node, status) in nodes {
                    table.add(
                        node.name.rawValue, status.state.rawValue, String(node.port), status.processID.map { String($0) } ?? "-",
                        node.logFile)
                }
                try Output.write(table)
            }
        }
    }

    /// `tandem dev stop`
    struct Stop: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(abstract: "Stop the nodes; their data stays, unless they are ephemeral.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var folder: Folder

        mutating func run() async throws {
            let cluster: LocalCluster
            do {
                cluster = try await folder.attach()
            } catch let error as TandemError where error.code == .notFound {
                // What was asked for is so.
                return Talk.say("nothing runs in \(folder.path)")
            }
            try await folder.configuration.stop(cluster)
            Talk.say("stopped the nodes in \(folder.path)")
        }
    }

    /// `tandem dev reset`
    struct Reset: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(abstract: "Stop the nodes and remove all their data.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var folder: Folder

        mutating func run() async throws {
            try folder.configuration.remove()
            try await LocalCluster.reset(directory: folder.path)
            Talk.say("removed the nodes of \(folder.path)")
        }
    }

    /// `tandem dev psql`
    struct Psql: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(abstract: "Open psql on a node, with its password; what follows `--` goes to psql.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var folder: Folder
        @Flag(help: "As the server's superuser.") var superuser = false
        @Argument(help: "The node.") var node: NodeArgument
        @Argument(parsing: .postTerminator, help: "What psql is given.") var arguments: [String] = []

        mutating func run() async throws {
            let node = try await folder.attach().node(node.name)
            let conninfo = superuser ? node.superuserConninfo : node.conninfo
            try ForeignProgram.become("psql", arguments + ["--dbname", conninfo], environment: ["PGPASSFILE": node.passfile])
        }
    }
}

/// The name of a node on the command line.
struct NodeArgument: ExpressibleByArgument {
    let name: NodeName

    init?(argument: String) {
        guard let name = try? NodeName(argument) else { return nil }
        self.name = name
    }
}
