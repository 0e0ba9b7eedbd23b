import Foundation
import Glibc
import Synchronization
import TandemCore

/// Standard output as a place for events: what is written is taken, or an error says that it is not.
///
/// It is written on a thread of its own, which stands still for as long as nobody reads, while other sinks go on. Several sources write to it: one's lines never stand in another's.
enum StandardOutput {
    private final class Job: Sendable {
        let bytes: [UInt8]
        private let waiting: Mutex<CheckedContinuation<Void, any Error>?>

        init(_ bytes: [UInt8], _ continuation: CheckedContinuation<Void, any Error>) {
            self.bytes = bytes
            waiting = Mutex(continuation)
        }

        /// Whether somebody still waits for it.
        var isWanted: Bool { waiting.withLock { $0 != nil } }

        func end(_ result: Result<Void, any Error>) {
            let continuation = waiting.withLock { waiting in
                defer { waiting = nil }
                return waiting
            }
            continuation?.resume(with: result)
        }
    }

    private struct State {
        var jobs: [Job] = []
        var isRunning = false
    }

    private static let state = Mutex(State())

    /// Writes.
    ///
    /// - Parameter bytes: what is written in one piece.
    /// - Throws: `sinkUnavailable`; `CancellationError`: nobody knows what of it was written, or still will be.
    static func write(_ bytes: [UInt8]) async throws {
        let own = Mutex<Job?>(nil)
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                let job = Job(bytes, continuation)
                own.withLock { $0 = job }
                if Task.isCancelled { return job.end(.failure(CancellationError())) }
                let starts = state.withLock { state in
                    state.jobs.append(job)
                    defer { state.isRunning = true }
                    return !state.isRunning
                }
                if starts { Thread.detachNewThread { work() } }
            }
        } onCancel: {
            own.withLock { $0 }?.end(.failure(CancellationError()))
        }
    }

    /// Writes until there is nothing more.
    private static func work() {
        while let job = next() {
            guard job.isWanted else { continue }
            job.end(Result { try put(job.bytes) })
        }
    }

    private static func next() -> Job? {
        state.withLock { state in
            if state.jobs.isEmpty {
                state.isRunning = false
                return nil
            }
            return state.jobs.removeFirst()
        }
    }

    private static func put(_ bytes: [UInt8]) throws {
        do {
            try FileHandle.standardOutput.write(contentsOf: Data(bytes))
        } catch {
            // Nobody reads any more: nothing is left to be done here.
            if Output.isBrokenPipe(error) { kill(getpid(), SIGTERM) }
            throw TandemError(.sinkUnavailable, "standard output takes nothing: \(error)", nextStep: "see who reads it", cause: error)
        }
    }
}
