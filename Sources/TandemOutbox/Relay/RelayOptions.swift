import TandemCore
import TandemPostgres

/// How a relay works.
public struct RelayOptions: Sendable {
    /// What happens to an event that a sink has refused again and again.
    public enum Refusal: String, Sendable, CaseIterable {
        /// It waits for an operator, and so do the later ones of its key.
        case pause
        /// It becomes a dead letter, and its key flows on.
        case dead
    }

    /// How long a relay that gives no sign of life keeps its sink. Then another one goes on.
    public var lease: Duration = .seconds(10)
    /// The longest that it waits before it asks again whether there is something new.
    public var poll: Duration = .milliseconds(200)
    /// The most events that are read and handed to a sink at a time, 1 to 10,000.
    public var batch = 2000
    /// The most bytes of these, at most 6 MiB; one that has more goes alone.
    public var batchBytes = 4 << 20
    /// How often an event is tried before ``refusal`` holds.
    public var attempts = 8
    /// The wait before the second attempt, which doubles each time up to ``longestWait``; also that before a sink that is down is tried again.
    public var wait: Duration = .milliseconds(200)
    /// See ``wait``.
    public var longestWait: Duration = .seconds(60)
    /// What happens to an event that was refused that often.
    public var refusal = Refusal.pause
    /// Whether a sink that is new gets what is still there of the past; else it begins with what is published from then on.
    public var isFromStart = false

    /// Into how many parts the sink's events are divided by their keys, 1 to 64: each has a lease of its own, so that as many relays can be at work at a time. All relays of a sink have
    /// the same number; those with another one wait until the others have ended.
    public var shares = 1

    /// Which topics the sink gets: whole ones, or beginnings followed by `*`; all where there are none.
    public var topics: [String] = []

    /// Options with their defaults.
    public init() {}

    /// How much of a window is read at a time: so many events, and bytes of several.
    var part: (events: Int, bytes: Int) { (max(1, min(batch, ResultLimit.rows)), min(batchBytes, ResultLimit.payloads)) }

    func wants(_ topic: String) -> Bool {
        topics.isEmpty || topics.contains { $0.hasSuffix("*") ? topic.hasPrefix($0.dropLast()) : topic == $0 }
    }

    /// The longest that it waits before it asks again for a lease that it can have.
    var longestRest: Duration { max(poll, lease / 10) }

    /// The wait before another attempt, the first one's being 1: it doubles, with chance in it.
    func delay(_ attempt: Int) -> Duration {
        Backoff(base: wait, cap: longestWait).delay(attempt: attempt - 1, random: .random(in: 0..<1)) + .milliseconds(10)
    }
}
