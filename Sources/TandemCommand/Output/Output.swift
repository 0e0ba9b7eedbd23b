import Foundation
import Glibc
import TandemCore

/// Data, which goes to standard output.
enum Output {
    static func write(_ value: JSON) throws { try write(text: value.text) }

    static func write(_ table: TextTable) throws { try write(text: table.text(isColoured: Terminal.isColoured(.standardOutput))) }

    /// Writes lines; the last one is ended where it is not. Throws where standard output takes nothing, and then has said so.
    static func write(text: String) throws {
        guard !text.isEmpty else { return }
        do {
            try FileHandle.standardOutput.write(contentsOf: Data((text.hasSuffix("\n") ? text : text + "\n").utf8))
        } catch {
            // Nobody listens: that is the listener's choice, as with `head`. A full disk is not.
            guard !isBrokenPipe(error) else { return }
            Talk.say("standard output takes nothing, so here is the result:\n\(text)")
            throw Ending(.failed)
        }
    }

    static func isBrokenPipe(_ error: any Error) -> Bool {
        let error = error as NSError
        let cause = error.userInfo[NSUnderlyingErrorKey] as? NSError ?? error
        return cause.domain == NSPOSIXErrorDomain && cause.code == Int(EPIPE)
    }
}

/// What people read beside the data, on standard error.
enum Talk {
    static func say(_ message: String) { write("tandem: \(message)") }

    /// An error: what, where, why, and what to do next.
    static func say(_ error: TandemError) {
        var places: [String] = []
        if let node = error.node { places.append("node \(node)") }
        if let state = error.sqlState { places.append("SQLSTATE \(state)") }
        if let constraint = error.constraint { places.append("constraint \(constraint)") }
        let isColoured = Terminal.isColoured(.standardError)
        let message = error.message.split(whereSeparator: \.isNewline).map { $0.drop { $0.isWhitespace } }.joined(separator: " ")
        say("\(Colour.red.paint("error", isColoured)): \(message)\(places.isEmpty ? "" : " (\(places.joined(separator: ", ")))")")
        if !error.advice.isEmpty { write("  next: \(error.advice)") }
    }

    static func write(_ text: String) {
        // Where nobody can be told, there is nobody to tell that to.
        try? FileHandle.standardError.write(contentsOf: Data((text.hasSuffix("\n") ? text : text + "\n").utf8))
    }
}
