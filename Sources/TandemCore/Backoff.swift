/// How long to wait before trying again: exponential, capped, with full jitter.
///
/// Full jitter draws from the whole interval below the exponential bound. Many clients that failed together then come back spread out, with
/// the least work in total of the usual forms (Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
///
/// ```swift
/// let backoff = Backoff(base: .milliseconds(20), cap: .seconds(2))
/// let pause = backoff.delay(attempt: 3, random: Double.random(in: 0..<1))     // below 160 ms
/// ```
public struct Backoff: Hashable, Sendable {
    /// The bound of the first wait.
    public var base: Duration
    /// The bound that no wait exceeds.
    public var cap: Duration

    /// A backoff with these bounds.
    ///
    /// - Parameters:
    ///   - base: The bound of the first wait; a negative one counts as zero.
    ///   - cap: The bound that no wait exceeds, also where it is below `base`; a negative one counts as zero.
    public init(base: Duration, cap: Duration) {
        self.base = base
        self.cap = cap
    }

    /// How long to wait before an attempt.
    ///
    /// - Parameters:
    ///   - attempt: How many waits there were before this one: 0 for the first. A negative number counts as 0.
    ///   - random: A random number, at least 0 and below 1; any other one is brought into that range.
    /// - Returns: At least zero, and below both `cap` and `base` times 2 to the power of `attempt` (or zero where one of those is zero).
    public func delay(attempt: Int, random: Double) -> Duration {
        let share = random.isNaN ? 0 : min(max(random, 0), 1.0.nextDown)
        return bound(attempt: attempt) * share
    }

    private func bound(attempt: Int) -> Duration {
        let cap = max(cap, .zero)
        var bound = min(max(base, .zero), cap)
        guard bound > .zero else { return .zero }
        var doublings = attempt
        // It stops at the cap, so neither the duration nor the number of rounds can overflow.
        while doublings > 0, bound < cap {
            bound = bound > cap / 2 ? cap : bound * 2
            doublings -= 1
        }
        return bound
    }
}
