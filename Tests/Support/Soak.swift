import Foundation

/// How much of a chaos case runs: a sixtieth in `make test`, all of it in `make soak`.
package enum Soak {
    private static let divisor = ProcessInfo.processInfo.environment["TANDEM_SOAK"] == "1" ? 1 : 60

    /// Whether cases run as they are written. Only then is something asserted of times: what else runs on the machine is known.
    package static var isWhole: Bool { divisor == 1 }

    /// A case's number of things.
    package static func count(_ whole: Int) -> Int { max(1, whole / divisor) }

    /// A case's period.
    package static func period(_ whole: Duration) -> Duration { whole / divisor }
}
