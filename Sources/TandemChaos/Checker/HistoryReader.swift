import Foundation

/// Reads a history from a file of JSON lines.
///
/// The file is read a piece at a time: it may be many times as big as what is kept of it.
///
/// ```swift
/// let history = try HistoryReader(path: "history.jsonl").read()
/// ```
package struct HistoryReader: Sendable {
    private let path: String
    private let piece: Int

    /// A longer line is no event. Final reads of many keys may stand in one line.
    static let longestLine = 64 << 20

    /// - Parameter path: the file.
    package init(path: String) { self.init(path: path, piece: 1 << 20) }

    /// - Parameters:
    ///   - path: the file.
    ///   - piece: how many bytes are read at once.
    init(path: String, piece: Int) {
        self.path = path
        self.piece = piece
    }

    /// Reads all of the file. A last line without its end is ignored: whoever wrote it was killed.
    ///
    /// - Returns: the history.
    /// - Throws: ``HistoryError``, with the number of the line.
    package func read() throws(HistoryError) -> History {
        let file = try open()
        defer { try? file.close() }
        var builder = HistoryBuilder()
        var scanner = ByteScanner([], line: 1)
        while let data = try next(of: file) {
            scanner = ByteScanner(Array(scanner.rest) + data, line: scanner.line)
            while !scanner.isAtEnd { try builder.read(&scanner) }
            guard scanner.rest.count <= Self.longestLine else { throw scanner.malformed("it is longer than \(Self.longestLine) bytes") }
        }
        return try builder.finish(isTruncated: !scanner.rest.isEmpty)
    }

    private func open() throws(HistoryError) -> FileHandle {
        do { return try FileHandle(forReadingFrom: URL(filePath: path)) } catch { throw unreadable(error) }
    }

    /// The next piece; nil at the end.
    private func next(of file: FileHandle) throws(HistoryError) -> Data? {
        do {
            let data = try file.read(upToCount: piece)
            return data?.isEmpty == true ? nil : data
        } catch { throw unreadable(error) }
    }

    private func unreadable(_ error: any Error) -> HistoryError { .unreadable(path: path, reason: error.localizedDescription) }
}
