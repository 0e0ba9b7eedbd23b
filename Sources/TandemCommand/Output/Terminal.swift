import Foundation
import Glibc

/// Whether people look on, and whether they see colours.
enum Terminal {
    static func isColoured(_ handle: FileHandle) -> Bool {
        let environment = ProcessInfo.processInfo.environment
        return isatty(handle.fileDescriptor) == 1 && environment["NO_COLOR", default: ""].isEmpty && environment["TERM"] != "dumb"
    }
}

/// Colours of a terminal.
enum Colour: Int {
    case red = 31
    case green = 32
    case yellow = 33

    func paint(_ text: String, _ isColoured: Bool) -> String { isColoured ? "\u{1B}[\(rawValue)m\(text)\u{1B}[0m" : text }

    /// The colour of a state or an outcome: what is well, what waits, what is wrong.
    init?(state: String) {
        switch state {
        case "committed", "applied", "running", "ok": self = .green
        case "pending", "prepared", "in_doubt", "changing", "paused", "too_young", "undecided", "busy", "would_commit", "would_roll_back", "notice":
            self = .yellow
        case "rolled_back", "unreachable", "stopped", "lost", "mixed", "held", "would_hold", "unknown", "problem": self = .red
        default: return nil
        }
    }
}
