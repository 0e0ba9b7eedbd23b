import ArgumentParser
import Foundation
import TandemCore
import TandemSagas

/// `tandem saga`
struct Saga: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run sagas: work in steps over several databases and services that ends all done or all undone.",
        subcommands: [
            Start.self, List.self, Show.self, Signal.self, Retry.self, Skip.self, Resolve.self, Cancel.self, Reconcile.self, Run.self,
        ])

    /// Which saga a command is about.
    struct Reference: ParsableArguments {
        @Argument(help: "The saga's id, or six or more characters of its end.")
        var id: String

        func find(in sagas: Sagas) async throws -> SagaID { try await sagas.find(suffix: id) }
    }

    /// Why an operator does something.
    struct Reason: ParsableArguments {
        @Option(help: "Why, for whoever reads the record.")
        var reason: String

        func validate() throws {
            if reason.allSatisfy(\.isWhitespace) { throw ValidationError("--reason needs a text: it is what the record is for.") }
        }
    }

    /// A JSON text of the command line: as it stands, or of the file behind an `@`, or with `-` of standard input.
    static func json(_ argument: String, _ option: String) throws -> String {
        let text: String
        if argument == "-" {
            text = String(decoding: FileHandle.standardInput.readDataToEndOfFile(), as: UTF8.self)
        } else if argument.hasPrefix("@") {
            guard let data = FileManager.default.contents(atPath: String(argument.dropFirst())) else {
                throw TandemError(
                    .configurationInvalid, "the file \(argument.dropFirst()) cannot be read", nextStep: "see whether it is there and who may read it")
            }
            text = String(decoding: data, as: UTF8.self)
        } else {
            text = argument
        }
        do { _ = try JSON(reading: text) } catch {
            throw TandemError(
                .configurationInvalid, "\(option) is no JSON: \(error)", nextStep: "write it in single quotes, as '{\"amount\": 7}'; @FILE reads a file")
        }
        return text
    }
}
