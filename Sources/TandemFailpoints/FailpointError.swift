/// A failure that was asked for, or a specification that cannot be read.
package enum FailpointError: Error, Hashable, Sendable, CustomStringConvertible {
    /// The action `error` was armed at this point.
    case injected(Failpoint)
    /// The specification says something else than the grammar allows; the text that is wrong, and why.
    case unreadable(String, reason: String)

    package var description: String {
        switch self {
        case .injected(let point): "the failpoint \(point.rawValue) is armed with the action error"
        case .unreadable(let text, let reason): "the failpoint specification '\(text)' cannot be read: \(reason)"
        }
    }
}
