import Foundation
import Glibc
import Synchronization
import TandemCore

/// The lines of a file or of standard input, read ahead by a thread of its own, with a bound: a sender that is faster than the databases waits.
final class LineSource: Sendable {
    struct Line: Sendable {
        /// From 1.
        let number: Int
        let bytes: [UInt8]
    }

    private struct State {
        /// In the order of the input, from `first` on.
        var lines: [Line] = []
        var first = 0
        var waiters: [CheckedContinuation<Line?, Never>] = []
        /// Nothing more comes: the input has ended, failed, or nobody wants more.
        var isOver = false
        var failure: TandemError?
        /// The reader waits for room.
        var isReaderWaiting = false

        var count: Int { lines.count - first }

        mutating func take() -> Line? {
            guard first < lines.count else { return nil }
            defer {
                first += 1
                // What has been handed out is removed now and then, not each time.
                if first == lines.count || first > LineSource.bound {
                    lines.removeFirst(first)
                    first = 0
                }
            }
            return lines[first]
        }
    }

    /// Lines that are read ahead.
    fileprivate static let bound = 1024
    /// A line that is longer is no transaction.
    private static let longest = 16 << 20

    private let descriptor: Int32
    private let name: String
    private let state = Mutex(State())
    private let room = DispatchSemaphore(value: 0)

    /// Opens a file; `-` is standard input.
    init(path: String) throws {
        name = path == "-" ? "standard input" : path
        descriptor = path == "-" ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw TandemError(.configurationInvalid, "\(path) cannot be read: \(String(cString: strerror(errno)))", nextStep: "name a file, or `-`")
        }
        Thread.detachNewThread { [self] in read() }
    }

    /// The next line that is not empty; `nil` when there is none any more.
    func next() async -> Line? {
        await withCheckedContinuation { continuation in
            let (line, isThere, mustWake) = state.withLock { state -> (Line?, Bool, Bool) in
                if let line = state.take() {
                    let mustWake = state.isReaderWaiting && state.count < Self.bound / 2
                    if mustWake { state.isReaderWaiting = false }
                    return (line, true, mustWake)
                }
                if state.isOver { return (nil, true, false) }
                state.waiters.append(continuation)
                return (nil, false, false)
            }
            if mustWake { room.signal() }
            if isThere { continuation.resume(returning: line) }
        }
    }

    /// Hands out no more lines, whatever has been read ahead.
    func close() {
        end {
            $0.lines.removeAll()
            $0.first = 0
        }
    }

    /// Why the input ended before its end, if it did.
    var failure: TandemError? { state.withLock { $0.failure } }

    private func end(_ change: (inout State) -> Void) {
        let waiters = state.withLock { state in
            change(&state)
            state.isOver = true
            defer { state.waiters.removeAll() }
            return state.waiters
        }
        for waiter in waiters { waiter.resume(returning: nil) }
    }

    // MARK: The reader's thread

    private func read() {
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        var line: [UInt8] = []
        var number = 0
        while true {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            if count < 0 && errno == EINTR { continue }
            if count < 0 {
                let reason = String(cString: strerror(errno))
                return end { $0.failure = TandemError(.configurationInvalid, "\(name) cannot be read any further: \(reason)", nextStep: "send the rest again") }
            }
            if count == 0 {
                if !line.isEmpty { put(Line(number: number + 1, bytes: line)) }
                return end { _ in }
            }
            var start = 0
            while let length = chunk[start..<count].firstIndex(of: UInt8(ascii: "\n")) {
                line += chunk[start..<length]
                number += 1
                put(Line(number: number, bytes: line))
                line.removeAll(keepingCapacity: true)
                start = length + 1
            }
            line += chunk[start..<count]
            if line.count > Self.longest {
                return end {
                    $0.failure = TandemError(
                        .configurationInvalid, "\(name):\(number + 1): a line is longer than \(Self.longest >> 20) MiB",
                        nextStep: "end each transaction with a line feed")
                }
            }
        }
    }

    private func put(_ line: Line) {
        if line.bytes.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { return }
        let (waiter, mustWait) = state.withLock { state -> (CheckedContinuation<Line?, Never>?, Bool) in
            if state.isOver { return (nil, false) }
            if !state.waiters.isEmpty { return (state.waiters.removeFirst(), false) }
            state.lines.append(line)
            state.isReaderWaiting = state.count >= Self.bound
            return (nil, state.isReaderWaiting)
        }
        waiter?.resume(returning: line)
        if mustWait { room.wait() }
    }
}
