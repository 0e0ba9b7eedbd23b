import Synchronization

/// A relay's right to send, as far as this process can know it.
///
/// The server's clock decides who has the lease. Here only the time since the last renewal was asked for counts, on a clock that nobody sets: after two thirds of the lease
/// nothing more is handed to the sink.
final class RelayLease: Sendable {
    let epoch: Int64
    private let length: Duration
    private let renewed: Mutex<ContinuousClock.Instant>
    private let lost = Atomic<Bool>(false)
    private let asked = Atomic<Bool>(false)

    init(epoch: Int64, length: Duration, from time: ContinuousClock.Instant) {
        self.epoch = epoch
        self.length = length
        renewed = Mutex(time)
    }

    func renew(from time: ContinuousClock.Instant) { renewed.withLock { $0 = max($0, time) } }

    func lose() { lost.store(true, ordering: .relaxed) }

    var isLost: Bool { lost.load(ordering: .relaxed) }

    /// Another relay, which has fewer shares, waits for this one.
    func ask() { asked.store(true, ordering: .relaxed) }

    /// Whether the share is to be left to another relay, as soon as what is under way is noted.
    var isAsked: Bool { asked.load(ordering: .relaxed) }

    /// Whether something may be sent now.
    var mayServe: Bool { !isLost && ContinuousClock.now < renewed.withLock { $0 } + length * 2 / 3 }
}
