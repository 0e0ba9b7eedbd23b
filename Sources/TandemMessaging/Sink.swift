public import TandemCore

/// Where events go: a broker, a service, another database.
///
/// A relay calls it from one task at a time, with events in the order of their places. What it must hold:
///
/// - `delivered` means durable: the sink has taken the event over, and no crash of the sender or of the sink takes it back.
/// - An error says that nothing is known of the batch: all of it is sent again, with the same ids and places. So is a batch whose verdicts never reached the relay. Events
///   arrive at least once.
/// - Events of one key arrive in their order. Where one is refused, those of its key behind it in the batch are not sent, and are ``DeliveryVerdict/held``. A sink that has several
///   under way at a time cannot always hold that, and says so in its documentation.
/// - Cancellation ends the call soon.
public protocol Sink: Sendable {
    /// Delivers events.
    ///
    /// - Parameter batch: events in their order.
    /// - Returns: a verdict for each, in the same order.
    /// - Throws: where the sink as a whole does not take events now. `CancellationError`.
    func deliver(_ batch: [Delivery]) async throws -> [DeliveryVerdict]

    /// Gives up connections; nothing is delivered afterwards.
    func close() async
}

/// What became of one event at a sink.
public enum DeliveryVerdict: Sendable {
    /// The sink has it.
    case delivered
    /// The sink does not take this one, while it takes others; it may be sent again later.
    case refused(TandemError)
    /// It was not sent, since one of its key before it was refused.
    case held
}

extension DeliveryVerdict {
    /// The sink does not take this one, for a reason of its own.
    ///
    /// - Parameters:
    ///   - reason: why not, in one sentence.
    ///   - nextStep: what whoever looks at it is to do.
    /// - Returns: the verdict.
    public static func refused(because reason: String, nextStep: String = "") -> DeliveryVerdict {
        .refused(TandemError(.eventRefused, reason, nextStep: nextStep))
    }
}
