import Foundation
import Synchronization

/// Lines for standard output, written by a thread of its own, many at a time: a reader that is slow, or gone, holds up nobody who runs transactions until
/// the bound is reached.
final class LineSink: Sendable {
    private struct State {
        var text: [UInt8] = []
        var waiters: [CheckedContinuation<Void, Never>] = []
        var isEnding = false
        /// Nobody reads any more, or the disk is full.
        var isBroken = false
    }

    /// Bytes that may wait for the reader.
    private static let bound = 4 << 20

    private let state = Mutex(State())
    private let work = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)

    init() {
        Thread.detachNewThread { [self] in write() }
    }

    /// Whether what was written last could not be.
    var isBroken: Bool { state.withLock { $0.isBroken } }

    /// Writes a line, in the order of the calls; waits while too much waits already.
    func put(_ line: String) async {
        let isFull = state.withLock { state in
            if state.isBroken { return false }
            state.text += line.utf8
            state.text.append(UInt8(ascii: "\n"))
            return state.text.count > Self.bound
        }
        work.signal()
        guard isFull else { return }
        await withCheckedContinuation { continuation in
            let isThere = state.withLock { state in
                if state.isBroken || state.text.count <= Self.bound { return true }
                state.waiters.append(continuation)
                return false
            }
            if isThere { continuation.resume() }
        }
    }

    /// Waits until everything is written.
    func end() {
        state.withLock { $0.isEnding = true }
        work.signal()
        ended.wait()
    }

    private func write() {
        while true {
            work.wait()
            let (text, waiters, isEnding) = state.withLock { state in
                defer { (state.text, state.waiters) = ([], []) }
                return (state.text, state.waiters, state.isEnding)
            }
            for waiter in waiters { waiter.resume() }
            if !text.isEmpty && !isBroken {
                do { try FileHandle.standardOutput.write(contentsOf: Data(text)) } catch { state.withLock { $0.isBroken = true } }
            }
            if isEnding && state.withLock({ $0.text.isEmpty }) {
                ended.signal()
                return
            }
        }
    }
}
