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
        /// Whether the last write has failed in the midst of a line.
        var isTorn = false
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
        let newline = UInt8(ascii: "\n")
        // What was begun ends here: the next line may be another source's, for which it would be lost.
        let bytes = state.withLock(\.isTorn) ? [newline] + bytes : bytes
        var written = 0
        defer { if written > 0 { state.withLock { $0.isTorn = bytes[written - 1] != newline } } }
        while written < bytes.count {
            let rest = written == 0 ? bytes : Array(bytes[written...]), count = Glibc.write(STDOUT_FILENO, rest, rest.count)
            let code = errno
            if count >= 0 {
                written += count
            } else if code == EAGAIN {
                // Whoever gave us the descriptor does not want to wait; we do.
                var output = pollfd(fd: STDOUT_FILENO, events: Int16(POLLOUT), revents: 0)
                poll(&output, 1, -1)
            } else if code != EINTR {
                // Nobody reads any more: nothing is left to be done here.
                if code == EPIPE { kill(getpid(), SIGTERM) }
                throw TandemError(.sinkUnavailable, "standard output takes nothing: \(String(cString: strerror(code)))", nextStep: "see who reads it")
            }
        }
    }
}
