import DequeModule

/// Lets callers through one at a time, in the order of arrival: overlapping calls on one branch queue and never interleave. It stands in its branch's
/// state, behind that lock.
struct Turnstile {
    private var isTaken = false
    private var waiting: Deque<CheckedContinuation<Void, Never>> = []

    /// Whether it was free, and is the caller's now.
    mutating func enter() -> Bool {
        defer { isTaken = true }
        return !isTaken
    }

    /// As ``enter()``; where it is not free the caller is resumed when it is its turn.
    mutating func enter(or wait: CheckedContinuation<Void, Never>) -> Bool {
        let isFree = enter()
        if !isFree { waiting.append(wait) }
        return isFree
    }

    /// Who is next, to be resumed outside of the lock.
    mutating func leave() -> CheckedContinuation<Void, Never>? {
        let next = waiting.popFirst()
        if next == nil { isTaken = false }
        return next
    }
}
