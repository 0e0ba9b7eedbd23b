/// Why a history cannot be checked.
package enum HistoryError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The file cannot be opened or read.
    case unreadable(path: String, reason: String)
    /// A line, counted from 1, is not what a history consists of.
    case malformed(line: Int, reason: String)

    package var description: String {
        switch self {
        case .unreadable(let path, let reason): "the history \(path) cannot be read: \(reason)"
        case .malformed(let line, let reason): "line \(line) of the history is malformed: \(reason)"
        }
    }
}
