import Foundation
import Glibc
import Synchronization
import TandemCore

/// Appends lines to a file. A line that was written is there whatever becomes of the process.
final class HistoryWriter: Sendable {
    private let file: Mutex<FileHandle>

    init(path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else {
            throw TandemError(.localNodeFailed, "\(path) cannot be written: \(String(cString: strerror(errno)))", nextStep: "name another file")
        }
        file = Mutex(FileHandle(fileDescriptor: descriptor, closeOnDealloc: true))
    }

    func write(_ line: String) throws { try write([line]) }

    func write(_ lines: [String]) throws {
        if lines.isEmpty { return }
        let data = Data((lines.joined(separator: "\n") + "\n").utf8)
        try file.withLock { try $0.write(contentsOf: data) }
    }
}
