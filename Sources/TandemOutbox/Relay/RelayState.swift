import Synchronization

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
