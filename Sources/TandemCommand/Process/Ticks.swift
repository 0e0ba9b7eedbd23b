import Dispatch

/// A beat, for what can only be looked at again and again. It ends with the task that iterates.
struct Ticks: AsyncSequence {
    private let interval: Duration

    init(every interval: Duration) { self.interval = interval }

    func makeAsyncIterator() -> AsyncStream<Void>.Iterator {
        let (stream, continuation) = AsyncStream.makeStream(of: Void.self, bufferingPolicy: .bufferingNewest(1))
        let timer = DispatchSource.makeTimerSource()
        let nanoseconds = Int(interval.components.seconds) * 1_000_000_000 + Int(interval.components.attoseconds / 1_000_000_000)
        timer.schedule(deadline: .now() + .nanoseconds(nanoseconds), repeating: .nanoseconds(nanoseconds))
        timer.setEventHandler { continuation.yield() }
        continuation.onTermination = { _ in timer.cancel() }
        timer.activate()
        return stream.makeAsyncIterator()
    }
}
