/// An event on its way to a sink, with its place in the order of its source.
public struct Delivery: Sendable, Hashable {
    /// The place of an event: a later one of the same key has a higher place, and the same event has the same place however often it is sent, until it is replayed.
    public struct Place: Sendable, Hashable, Comparable {
        /// The number of the window in which it was read.
        public let window: Int64
        /// Its number in the outbox.
        public let sequence: Int64

        /// A place.
        ///
        /// - Parameters:
        ///   - window: the number of the window.
        ///   - sequence: the number in the outbox.
        public init(window: Int64, sequence: Int64) {
            self.window = window
            self.sequence = sequence
        }

        /// Whether the first one comes before.
        public static func < (one: Place, other: Place) -> Bool { (one.window, one.sequence) < (other.window, other.sequence) }
    }

    /// The event.
    public let event: Event
    /// Where it comes from: `/CLUSTER/NODE`, the source of a CloudEvent.
    public let source: String
    /// The name of the sink, with `#` and the number of the share behind it but for the first share: each has windows of its own, and so places.
    public let sink: String
    /// Its place among the events that the sink gets from the source.
    public let place: Place
    /// Whether the place is the event's, whoever sends it and however often. Where it is not, as of a table of another outbox, or where later ones have gone before, as of an event that
    /// was set aside, only the event's id tells a duplicate.
    public let isPlaceLasting: Bool

    /// A delivery.
    ///
    /// - Parameters:
    ///   - event: the event.
    ///   - source: where it comes from.
    ///   - sink: the name of the sink.
    ///   - place: its place among those that the sink gets from there.
    ///   - isPlaceLasting: whether its place tells a duplicate.
    public init(_ event: Event, from source: String, to sink: String, at place: Place, isPlaceLasting: Bool = true) {
        self.event = event
        self.source = source
        self.sink = sink
        self.place = place
        self.isPlaceLasting = isPlaceLasting
    }
}
