import Logging
import TandemPostgres

/// The place in the caller's code where a transaction was started: code that holds a reactor's thread is named by it, once.
struct CallSite: Hashable, Sendable {
    private static let named = Locked<Set<CallSite>>([])

    let file: String
    let line: Int

    /// Looks how long the code between two awaits has held the reactor.
    func noteLongJob(on reactor: Reactor, _ logger: Logger) {
        guard reactor.isCurrent else { return }
        let held = reactor.currentTurn
        guard held > Reactor.longJob, Self.named.withLock({ $0.insert(self).inserted }) else { return }
        logger.info(
            "the body of a transaction blocks or computes for long; every connection of its reactor waits meanwhile",
            metadata: ["code.file": "\(file)", "code.line": "\(line)", "tandem.held": "\(held)"])
    }
}
