public import TandemMessaging

/// A message that a consumer handles.
public struct InboxMessage: Sendable {
    /// The event.
    public let event: Event
    /// Where it comes from: `/CLUSTER/NODE`.
    public let source: String
    let place: Int64
    /// Bytes of its payload in the queue; the event has none of them where they are too many.
    let size: Int
}
