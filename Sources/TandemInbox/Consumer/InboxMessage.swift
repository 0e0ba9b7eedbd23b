public import TandemMessaging

/// A message that a consumer handles.
public struct InboxMessage: Sendable {
    /// The event.
    public let event: Event
    /// Where it comes from: `/CLUSTER/NODE`.
    public let source: String
    let place: Int64
}
