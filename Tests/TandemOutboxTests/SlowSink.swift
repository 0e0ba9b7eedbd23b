import TandemCore
import TandemMessaging
import TandemPostgres
import TandemTestSupport

/// A sink that is down, or answers when the test lets it, and remembers whatever it was handed.
final class SlowSink: Sink {
    struct State: Sendable {
        var attempts: [[Delivery]] = []
        var delivered: [Delivery] = []
        var isDown = false
        var isHeld = false
        var cancelled = 0
    }

    let state: Locked<State>

    init(isDown: Bool = false, isHeld: Bool = false) { state = Locked(State(isDown: isDown, isHeld: isHeld)) }

    var attempts: [[Delivery]] { state.withLock { $0.attempts } }
    var delivered: [Delivery] { state.withLock { $0.delivered } }
    var texts: [String] { delivered.map { String(decoding: $0.event.payload, as: UTF8.self) } }

    func deliver(_ batch: [Delivery]) async throws -> [DeliveryVerdict] {
        state.withLock { $0.attempts.append(batch) }
        while state.withLock({ $0.isHeld }) {
            if Task.isCancelled {
                state.withLock { $0.cancelled += 1 }
                throw CancellationError()
            }
            await tick()
        }
        if state.withLock({ $0.isDown }) { throw TandemError(.sinkUnavailable, "down", nextStep: "wait") }
        state.withLock { $0.delivered += batch }
        return [DeliveryVerdict](repeating: .delivered, count: batch.count)
    }

    func close() async {}
}
