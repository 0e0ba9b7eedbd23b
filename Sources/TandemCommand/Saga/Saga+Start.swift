import ArgumentParser
import TandemCluster
import TandemConfiguration
import TandemCore
import TandemSagas

extension Saga {
    /// `tandem saga start`
    struct Start: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Start a saga from a file. It runs where `tandem saga run` or `tandem serve` does.",
            discussion: """
                With a key it may be started again, after a crash for one: the same key leads to the same saga. With --wait: 0 completed, 1 compensated, 3 stuck, 5 not ended \
                in time.
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(help: "The definition; `-` is standard input.", completion: .file(extensions: ["yaml", "yml", "json"]))
        var file: String

        @Option(help: ArgumentHelp("What its steps name as :input.KEY; @FILE reads a file, - standard input.", valueName: "json"))
        var input = "null"

        @Option(help: "What you call it.")
        var key: String?

        @Option(help: "How long to wait for its end, such as 30s; not at all by default.")
        var wait: DurationArgument?

        func validate() throws {
            if file == "-" && input == "-" { throw ValidationError("Standard input cannot be both the definition and the input.") }
        }

        mutating func run() async throws {
            let nodes = Set(try global.configuration().nodes.map(\.name))
            let definition = try SagaFile.load(path: file, nodes: nodes), input = try Saga.json(input, "--input"), key = key, limit = wait?.duration
            let (started, summary) = try await global.withSagas { sagas in
                try await Interruption.cancelling("interrupted; what is started goes on, `tandem saga ls` shows it") {
                    let started = try await sagas.start(definition, input: input, key: key)
                    return (started, try await sagas.end(of: started.id, within: limit ?? .zero))
                }
            }
            switch global.format {
            case .json: try Output.write(JSON(summary, [("new", .bool(started.isNew))]))
            case .table:
                let state = limit == nil ? started.isNew ? "started" : summary.state.rawValue : summary.state.rawValue
                try Output.write(text: "saga \(started.id) \(state)")
                if !started.isNew { Talk.say("this key was used before: nothing new was started") }
                if let error = summary.error { Talk.say("\(summary.state.rawValue): \(error)") }
            }
            guard limit != nil else { return }
            switch summary.state {
            case .completed: break
            case .compensated: throw Ending(.failed)
            case .stuckForward, .stuckCompensation: throw Ending(.problemFound)
            case .running, .compensating: throw Ending(.unreachable)
            }
        }
    }

    /// `tandem saga run`
    struct Run: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Run sagas that are due until SIGTERM or SIGINT; the same as `tandem serve --only sagas`.",
            discussion: "Any number may run anywhere. One that dies loses its sagas to the others once its lease is over.")

        @OptionGroup var global: GlobalOptions

        mutating func run() async throws { try await Serve.run(global, [.sagas]) }
    }
}
