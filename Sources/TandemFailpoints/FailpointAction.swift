/// What happens where an armed failpoint is reached.
package enum FailpointAction: Hashable, Sendable {
    /// Nothing; written to let a number of hits pass, or only to count.
    case off
    /// The process ends by SIGKILL: no clean-up, no goodbye to a server.
    case kill
    /// The process stops by SIGSTOP until somebody sends SIGCONT: a coordinator that wakes up late.
    case stop
    /// ``FailpointError/injected(_:)`` is thrown.
    case error
    /// The task sleeps, at most ``maximumDelay``.
    case delay(Duration)
    /// The task waits until ``Failpoints/release(_:)``.
    case hold

    /// The longest delay that a specification may ask for.
    package static let maximumDelay: Duration = .seconds(60)
}
