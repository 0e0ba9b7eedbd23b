import ArgumentParser
import TandemCore
import TandemLocal

extension Dev {
    /// `tandem dev fault`
    struct Fault: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Do to a node what can happen to one.", subcommands: [Kill.self, Pause.self, Resume.self, Restart.self])

        /// Which node of which folder.
        struct Target: ParsableArguments {
            @OptionGroup var folder: Folder
            @Argument(help: "The node.") var node: NodeArgument

            /// What a command that is advised says of the folder.
            var suffix: String { folder.suffix }

            func change(_ done: String, _ body: (LocalCluster, NodeName) async throws -> Void) async throws {
                try await body(folder.attach(), node.name)
                Talk.say("\(node.name) \(done)")
            }
        }

        /// `tandem dev fault kill`
        struct Kill: AsyncParsableCommand, Reporting {
            static let configuration = CommandConfiguration(
                abstract: "End all its processes with kill -9, as a crash of its machine would.")

            @OptionGroup var global: GlobalOptions
            @OptionGroup var target: Target

            mutating func run() async throws {
                try await target.change("was killed; bring it back with: tandem dev fault start \(target.node.name)\(target.suffix)") {
                    try await $0.kill($1)
                }
            }
        }

        /// `tandem dev fault pause`
        struct Pause: AsyncParsableCommand, Reporting {
            static let configuration = CommandConfiguration(abstract: "Stop it as it is: its connections stay open and hang.")

            @OptionGroup var global: GlobalOptions
            @OptionGroup var target: Target

            mutating func run() async throws {
                try await target.change("is paused; let it go on with: tandem dev fault resume \(target.node.name)\(target.suffix)") {
                    try await $0.pause($1)
                }
            }
        }

        /// `tandem dev fault resume`
        struct Resume: AsyncParsableCommand, Reporting {
            static let configuration = CommandConfiguration(abstract: "Let a paused node go on.")

            @OptionGroup var global: GlobalOptions
            @OptionGroup var target: Target

            mutating func run() async throws {
                try await target.change("goes on") { try $0.resume($1) }
            }
        }

        /// `tandem dev fault start`
        struct Restart: AsyncParsableCommand, Reporting {
            static let configuration = CommandConfiguration(
                commandName: "start", abstract: "Start a node again that was killed, with its data and on its port.")

            @OptionGroup var global: GlobalOptions
            @OptionGroup var target: Target

            mutating func run() async throws {
                try await target.change("runs") { try await $0.start($1) }
            }
        }
    }
}
