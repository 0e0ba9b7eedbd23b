import ArgumentParser
import TandemChaos

extension Chaos {
    /// `tandem chaos replay`
    struct Replay: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Run again what a history says: the same seed, the same schedule of faults, on new nodes.",
            discussion: "Exit codes as those of `tandem chaos run`.")

        @OptionGroup var global: GlobalOptions

        @Argument(help: "The history of the run.", completion: .file())
        var file: String

        @OptionGroup var files: Run.Files

        mutating func run() async throws {
            try global.refuseConfiguration()
            try await Run.perform(HistoryCheck(path: file).options(), files, global)
        }
    }
}
