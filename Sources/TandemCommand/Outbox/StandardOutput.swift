import Foundation
import Glibc
import Synchronization
import TandemCore

/// Standard output as a place for events: what is written is taken, or an error says that it is not.
enum StandardOutput {
    /// Several sources write to it: one's lines never stand in another's.
    private static let turn = Mutex(())

    static func write(_ bytes: [UInt8]) throws {
        do {
            try turn.withLock { _ in try FileHandle.standardOutput.write(contentsOf: Data(bytes)) }
        } catch {
            // Nobody reads any more: nothing is left to be done here.
            if Output.isBrokenPipe(error) { kill(getpid(), SIGTERM) }
            throw TandemError(.sinkUnavailable, "standard output takes nothing: \(error)", nextStep: "see who reads it", cause: error)
        }
    }
}
