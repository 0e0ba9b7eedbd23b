import ArgumentParser
import Foundation
import Glibc
import TandemChaos
import TandemCore

extension Chaos {
    /// `tandem chaos coordinator`: what a run starts several times.
    struct Coordinator: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "One coordinator of a run; started by `tandem chaos run`.", shouldDisplay: false)

        @Argument(help: "Its plan.")
        var plan: String

        mutating func run() async throws {
            let coordinator = try ChaosCoordinator(path: plan)
            Thread.detachNewThread {
                // Whoever started it holds the other end, and is gone when this ends.
                while let data = try? FileHandle.standardInput.read(upToCount: 1), !data.isEmpty {}
                _exit(TandemError.Code.ExitCode.failed.rawValue)
            }
            do { try await Interruption.cancelling("ending") { try await coordinator.run() } } catch is CancellationError {}
        }
    }
}
