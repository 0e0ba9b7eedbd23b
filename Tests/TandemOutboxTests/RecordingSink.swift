import TandemCore
import TandemMessaging
import TandemPostgres

/// A sink in memory that remembers everything, and refuses or is down as a test wants.
final class RecordingSink: Sink {
    struct State: Sendable {
        var deliveries: [Delivery] = []
        var batches = 0
        var isDown = false
        var refuses: @Sendable (Event) -> Bool = { _ in false }
    }

    let state = Locked(State())

    var events: [Event] { state.withLock { $0.deliveries.map(\.event) } }
    var texts: [String] { events.map { String(decoding: $0.payload, as: UTF8.self) } }

    func deliver(_ batch: [Delivery]) async throws -> [DeliveryVerdict] {
        try state.withLock { state in
            if state.isDown { throw TandemError(.sinkUnavailable, "down", nextStep: "wait") }
            state.batches += 1
            var blocked: Set<String> = []
            return batch.map { delivery in
                if let key = delivery.event.key, blocked.contains(key) { return .held }
                if state.refuses(delivery.event) {
                    if let key = delivery.event.key { blocked.insert(key) }
                    return .refused(TandemError(.eventRefused, "no", nextStep: "fix it"))
                }
                state.deliveries.append(delivery)
                return .delivered
            }
        }
    }

    func close() async {}
}
