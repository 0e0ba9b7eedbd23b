import ArgumentParser
import Foundation
import TandemCore
import TandemSagas

extension Saga {
    /// `tandem saga ls`
    struct List: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            commandName: "ls", abstract: "List sagas, the newest first.",
            discussion: "Exit code 3 where --stuck finds any.")

        @OptionGroup var global: GlobalOptions

        @Flag(help: "Only those at which an operator has to look.")
        var stuck = false

        @Flag(help: "Only those that wait: for a time, a signal, or another attempt.")
        var waiting = false

        @Flag(help: "Only those that have not ended and are not stuck.")
        var running = false

        @Option(help: "Only those of this definition.")
        var name: String?

        @Option(help: "Only those that were started so long ago at most, such as 24h.")
        var since: DurationArgument?

        @Option(help: "How many at most.")
        var limit = 100

        func validate() throws {
            if [stuck, waiting, running].filter(\.self).count > 1 { throw ValidationError("Give one of --stuck, --waiting and --running.") }
            guard (1...10_000).contains(limit) else { throw ValidationError("--limit takes a number from 1 to 10000.") }
        }

        mutating func run() async throws {
            let states: [SagaSummary.State] =
                if stuck { [.stuckForward, .stuckCompensation] } else if running || waiting { [.running, .compensating] } else { SagaSummary.State.allCases }
            let (isWaiting, name, age, limit) = (waiting, name, since?.duration, limit)
            let sagas = try await global.withSagas { sagas in
                try await Interruption.cancelling("interrupted") { try await sagas.list(states, isWaiting: isWaiting, name: name, since: age, limit: limit) }
            }
            switch global.format {
            case .json: try Output.write(JSON.object([("sagas", .array(sagas.map { JSON($0) }))]))
            case .table:
                guard !sagas.isEmpty else { return Talk.say(stuck ? "no saga is stuck" : "there is no such saga") }
                var table = TextTable("SAGA", "NAME", "STATE", "KEY", "WAITS FOR", "STARTED", "ENDED")
                for saga in sagas {
                    table.add(
                        String(saga.id.description.suffix(8)), "\(saga.name) \(saga.version)", saga.state.rawValue, saga.key ?? "-", saga.waitsFor ?? "-",
                        saga.startedAt, saga.endedAt ?? "-")
                }
                try Output.write(table)
            }
            if stuck && !sagas.isEmpty { throw Ending(.problemFound) }
        }
    }

    /// `tandem saga show`
    struct Show: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(abstract: "How a saga stands: its steps with their attempts and errors, and what happened to it.")

        @OptionGroup var global: GlobalOptions
        @OptionGroup var reference: Reference

        mutating func run() async throws {
            let reference = reference
            let description = try await global.withSagas { sagas in
                try await Interruption.cancelling("interrupted") { try await sagas.describe(reference.find(in: sagas)) }
            }
            switch global.format {
            case .json: try Output.write(JSON(description))
            case .table: try Self.write(description)
            }
        }

        private static func write(_ saga: SagaDescription) throws {
            let summary = saga.summary
            var text = "saga \(summary.id) \(summary.name) \(summary.version): \(summary.state.rawValue)\n"
            text += "started \(summary.startedAt)\(summary.endedAt.map { ", ended \($0)" } ?? "")\n"
            if let key = summary.key { text += "key \(key)\n" }
            if let owner = summary.owner { text += "run by \(owner)\n" }
            if let reason = summary.waitsFor { text += "waits for \(reason)\n" }
            text += "input \(saga.input)\n"
            if let output = summary.output { text += "output \(output)\n" }
            if let error = summary.error { text += "error \(error)\n" }
            var table = TextTable("STEP", "NODE", "STATE", "ATTEMPTS", "MS", "DONE", "UNDONE", "LAST ERROR")
            for step in saga.steps {
                let attempts = step.undoAttempts > 0 ? "\(step.attempts), undo \(step.undoAttempts)" : String(step.attempts)
                let times = [step.milliseconds, step.undoMilliseconds].compactMap { $0.map { String($0) } }.joined(separator: ", ")
                table.add(
                    step.name, step.nodes.isEmpty ? "-" : step.nodes.map(\.rawValue).joined(separator: ","), step.state, attempts, times.isEmpty ? "-" : times,
                    step.doneAt ?? "-", step.undoneAt ?? "-", step.error ?? "-")
            }
            text += table.text(isColoured: Terminal.isColoured(.standardOutput))
            if !saga.journal.isEmpty {
                var journal = TextTable("AT", "WHAT", "STEP", "ATTEMPT", "WHO", "DETAIL")
                for entry in saga.journal {
                    journal.add(entry.at, entry.what, entry.step ?? "-", entry.attempt.map { String($0) } ?? "-", entry.who ?? "-", entry.detail ?? "-")
                }
                text += "\n" + journal.text(isColoured: Terminal.isColoured(.standardOutput))
            }
            try Output.write(text: text)
        }
    }
}
