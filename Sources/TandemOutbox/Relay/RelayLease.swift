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

/// What the shares of one relay have in common while they are at work.
final class RelayState: Sendable {
    /// What troubles each share.
    private let stories = Mutex<[Int: String]>([:])
    private let failing = Mutex(0)

    /// Whether this trouble of a share is another one than its last one, and than those of the others.
    func isNews(_ trouble: String, of share: Int) -> Bool {
        stories.withLock { stories in
            let isKnown = stories.values.contains(trouble)
            stories[share] = trouble
            return !isKnown
        }
    }

    /// Something went well in the share: its next trouble is another story.
    func endStory(of share: Int) { stories.withLock { $0[share] = nil } }

    /// Counts the shares whose sink takes nothing.
    ///
    /// - Parameters:
    ///   - change: how many more there are.
    ///   - tell: is told the number, in the order of the changes.
    /// - Returns: the number.
    func countFailing(_ change: Int, _ tell: (Int) -> Void) -> Int {
        failing.withLock { count in
            count += change
            tell(count)
            return count
        }
    }
}
