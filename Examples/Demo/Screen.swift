import Foundation

/// Plain lines on standard output, each with the time since the start.
struct Screen: Sendable {
    private let began = ContinuousClock.now

    func say(_ text: String) {
        write("[\(Self.padded(seconds, 4)) s] \(text)")
    }

    /// What another program printed, set off from our own lines.
    func quote(_ text: String) {
        for line in text.split(separator: "\n") { write("         | \(line)") }
    }

    func title(_ text: String) {
        write("\n\(text)")
    }

    func table(_ rows: [(name: String, value: String)]) {
        let width = rows.map(\.name.count).max() ?? 0
        let digits = rows.map(\.value.count).max() ?? 0
        for row in rows { write("  \(row.name.padding(toLength: width, withPad: " ", startingAt: 0))  \(Self.padded(row.value, digits))") }
    }

    func write(_ line: String) {
        FileHandle.standardOutput.write(Data("\(line)\n".utf8))
    }

    private var seconds: String {
        let (seconds, attoseconds) = (ContinuousClock.now - began).components
        return "\(seconds).\(attoseconds / 100_000_000_000_000_000)"
    }

    private static func padded(_ text: String, _ width: Int) -> String {
        String(repeating: " ", count: max(0, width - text.count)) + text
    }
}
