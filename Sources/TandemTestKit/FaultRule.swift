/// One fault: when it happens, and what.
public struct FaultRule: Sendable {
    /// What sets a fault off.
    public enum Trigger: Sendable {
        /// A statement that contains this text is sent to be executed, prepared or not.
        case execute(String)
        /// A statement that contains this text is sent to be parsed: the first time that it is used in a session, where it is prepared.
        case parse(String)
        /// The server completes a statement with a tag that begins so, such as `PREPARE TRANSACTION`.
        case complete(String)
        /// A client connects.
        case connect
    }

    /// What happens to the connection. Where nothing else is said it stays open.
    public enum Action: Sendable {
        /// The message and whatever the client says afterwards never arrive; nothing is answered any more.
        case dropRequest
        /// The message arrives and is executed; its answer and whatever the server says afterwards do not. For a ``Trigger/complete(_:)`` it is that answer.
        case dropReply
        /// Both sides are told at once that the connection is gone; the message does not arrive.
        case reset
        /// So many bytes of the message arrive, and then the connection is reset.
        case cut(bytes: Int)
        /// The message, and everything behind it in the same direction, arrives later.
        case delay(Duration)
        /// From the message on, everything in the same direction arrives byte by byte, each after a pause.
        case trickle(pause: Duration)
        /// Nothing arrives any more, in either direction, and nobody is told: a cable that was cut.
        case blackHole
    }

    let trigger: Trigger
    let action: Action
    let skipped: Int
    let count: Int?

    /// A fault.
    ///
    /// ```swift
    /// proxy.arm(FaultRule(on: .execute("COMMIT PREPARED"), .dropReply, after: 1, times: 1))
    /// ```
    ///
    /// - Parameters:
    ///   - trigger: when it happens.
    ///   - action: what happens.
    ///   - skipped: how many times the trigger passes before, over all connections.
    ///   - times: how often it happens; without end where nil.
    public init(on trigger: Trigger, _ action: Action, after skipped: Int = 0, times: Int? = 1) {
        self.trigger = trigger
        self.action = action
        self.skipped = skipped
        count = times
    }
}

extension FaultRule.Trigger {
    /// Whether an event sets it off.
    func matches(_ event: Conversation.Event) -> Bool {
        switch (self, event) {
        case (.execute(let text), .execute(let sent)), (.parse(let text), .parse(let sent)): sent.contains(text)
        case (.complete(let tag), .complete(let said)): said.hasPrefix(tag)
        case (.execute, _), (.parse, _), (.complete, _), (.connect, _): false
        }
    }
}

extension FaultRule.Trigger {
    /// Whether a new connection sets it off.
    var isConnect: Bool { if case .connect = self { true } else { false } }
}
