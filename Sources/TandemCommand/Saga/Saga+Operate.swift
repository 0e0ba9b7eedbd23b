import ArgumentParser
import TandemCore
import TandemSagas

extension Saga {
    /// `tandem saga signal`
    struct Signal: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Send a signal to a saga that waits for it or will.", discussion: "The first one of a name counts.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var reference: Reference

        @Argument(help: "The signal's name.")
        var name: String

        @Option(help: ArgumentHelp("What the step then has as its output; @FILE reads a file, - standard input.", valueName: "json"))
        var data = "null"

        mutating func run() async throws {
            let reference = reference, name = name, data = try Saga.json(data, "--data")
            let (id, isNew) = try await global.withSagas { sagas in
                try await Interruption.cancelling("interrupted; it was sent or not") {
                    let id = try await reference.find(in: sagas)
                    return (id, try await sagas.signal(name, to: id, data: data))
                }
            }
            switch global.format {
            case .json: try Output.write(JSON.object([("saga", .string(id.description)), ("signal", .string(name)), ("new", .bool(isNew))]))
            case .table:
                try Output.write(text: "saga \(id) has the signal \(name)")
                if !isNew { Talk.say("it had it before, and that one counts") }
            }
        }
    }

    /// `tandem saga retry`
    struct Retry: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(abstract: "Try again at once what a saga is stuck at or waits to try again.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var reference: Reference
        @OptionGroup var reason: Reason

        mutating func run() async throws {
            let reason = reason.reason
            try await Saga.operate(global, reference, "is tried again") { try await $0.retry($1, reason: reason) }
        }
    }

    /// `tandem saga cancel`
    struct Cancel: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Let a saga turn back and undo what it has done.", discussion: "Refused (exit code 8) where it has ended or is past its pivot.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var reference: Reference
        @OptionGroup var reason: Reason

        mutating func run() async throws {
            let reason = reason.reason
            try await Saga.operate(global, reference, "turns back, unless it was done already") { try await $0.cancel($1, reason: reason) }
        }
    }

    /// `tandem saga skip`
    struct Skip: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Go on without a step, as if it were done, or on the way back as if it were undone.",
            discussion: "Whatever the step has or has not done is then yours to look after.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var reference: Reference

        @Argument(help: "The step's name.")
        var step: String

        @OptionGroup var reason: Reason

        mutating func run() async throws {
            let reason = reason.reason, step = step
            try await Saga.operate(global, reference, "goes on without the step \(step)") { try await $0.skip(step, of: $1, reason: reason) }
        }
    }

    /// `tandem saga resolve`
    struct Resolve: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Go on as if a step were done, with an output of yours.",
            discussion: "Where the step has happened all the same, its own output counts. On the way back it counts as undone.")

        @Option(
            name: .shortAndLong, help: ArgumentHelp("The configuration; else $TANDEM_CONFIG, else ./tandem.yaml.", valueName: "file"),
            completion: .file(extensions: ["yaml", "yml", "json"]))
        var config: String?

        @Flag(help: "Print the result as JSON.")
        var json = false

        @OptionGroup var reference: Reference

        @Argument(help: "The step's name.")
        var step: String

        @Option(help: ArgumentHelp("The step's output; @FILE reads a file, - standard input.", valueName: "json"))
        var output: String

        @OptionGroup var reason: Reason

        /// `--output` is the step's here.
        var global: GlobalOptions {
            var global = GlobalOptions()
            (global.config, global.output, global.json) = (config, nil, json)
            return global
        }

        mutating func run() async throws {
            let reason = reason.reason, step = step, output = try Saga.json(output, "--output")
            try await Saga.operate(global, reference, "goes on with that output of the step \(step)") {
                try await $0.resolve(step, of: $1, output: output, reason: reason)
            }
        }
    }

    private static func operate(
        _ global: GlobalOptions, _ reference: Reference, _ done: String, _ body: @escaping @Sendable (Sagas, SagaID) async throws -> Void
    ) async throws {
        let summary = try await global.withSagas { sagas in
            try await Interruption.cancelling("interrupted; look what was done with `tandem saga show \(reference.id)`") {
                let id = try await reference.find(in: sagas)
                try await body(sagas, id)
                return try await sagas.end(of: id, within: .zero)
            }
        }
        switch global.format {
        case .json: try Output.write(JSON(summary))
        case .table: try Output.write(text: "saga \(summary.id) \(done)")
        }
    }
}
