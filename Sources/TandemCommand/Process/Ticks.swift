import Dispatch

/// A beat, for what can only be looked at again and again. It ends with the task that iterates.
struct Ticks: AsyncSequence {
    private let interval: Duration

    init(every interval: Duration) { self.interval = interval }

    func makeAsyncIterator() -> Iterator { Iterator(interval) }

    final class Iterator: AsyncIteratorProtocol {
        typealias Element = Void

        private let timer = DispatchSource.makeTimerSource()
        private var beats: AsyncStream<Void>.Iterator

        init(_ interval: Duration) {
            // Whoever comes late has missed a beat, not two.
            let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
            beats = stream.makeAsyncIterator()
            let nanoseconds = Int(interval.components.seconds) * 1_000_000_000 + Int(interval.components.attoseconds / 1_000_000_000)
            timer.schedule(deadline: .now() + .nanoseconds(nanoseconds), repeating: .nanoseconds(nanoseconds))
            timer.setEventHandler { continuation.yield() }
            timer.activate()
        }

        deinit { timer.cancel() }

        /// The next beat; nil when the task is cancelled.
        func next(isolation actor: isolated (any Actor)?) async -> Void? { await beats.next(isolation: actor) }
    }
}
