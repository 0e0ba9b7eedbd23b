import TandemCore

/// Which fault happens when, and to whom: a function of the seed, so that a run can be repeated.
///
/// What the faults hit is not the same each time: programs and servers are as fast as they are. The schedule is.
package struct FaultSchedule: Sendable, Equatable {
    /// One fault.
    package struct Fault: Sendable, Equatable {
        /// Milliseconds after the load began.
        package let start: Int
        /// Milliseconds until it is healed; 0 for one that does not last.
        package let duration: Int
        package let kind: FaultKind
        /// The number of the node or of the coordinator that it hits.
        package let target: Int
        /// The coordinators that a partition cuts off.
        package let coordinators: [Int]
    }

    /// The longest that a fault lasts, the widest gap between two, and how long a target is left alone afterwards, in milliseconds.
    private static let longest = 2_500, widest = 1_200, rest = 500
    /// How long a coordinator sleeps at least: longer than the grace of recovery, so that it wakes up when others have decided.
    private static let sleep = 4_500
    /// Time without a fault at the beginning, while connections are opened.
    private static let lead = 1_000
    /// Time that is left to the last fault before the load ends.
    private static let tail = 1_000

    package let faults: [Fault]

    /// The schedule of a run.
    ///
    /// The kinds are dealt like cards, so that each comes as often as the others. At most two faults last at a time, and never two on one target: with
    /// every node down at once nothing would happen that could go wrong.
    ///
    /// - Parameters:
    ///   - seed: what it follows from.
    ///   - seconds: how long the load lasts.
    ///   - nodes: how many there are.
    ///   - coordinators: how many there are.
    ///   - kinds: which faults happen.
    package init(seed: UInt64, seconds: Int, nodes: Int, coordinators: Int, kinds: [FaultKind]) {
        var random = FastRandom(seed: seed)
        var faults: [Fault] = []
        var deck: [FaultKind] = []
        // When each target is free again, and each of the two places for faults at a time.
        var nodeFree = [Int](repeating: 0, count: nodes), coordinatorFree = [Int](repeating: 0, count: coordinators)
        var places = [0, 0]
        let end = seconds * 1_000 - Self.tail
        // Every kind comes at least once, also in a short run.
        let share = max(200, (end - Self.lead) / max(1, kinds.count))
        var now = Self.lead
        while !kinds.isEmpty {
            if deck.isEmpty { deck = Self.shuffled(kinds, &random) }
            let kind = deck.removeLast()
            let place = places[0] <= places[1] ? 0 : 1
            let free = kind.isOfNode ? nodeFree : coordinatorFree
            let drawn = random.next(free.count)
            let target = free[drawn] <= now ? drawn : free.indices.min { free[$0] < free[$1] } ?? drawn
            let start = max(now, places[place], free[target])
            let drawnTime = kind.isLasting ? 200 + random.next(min(Self.longest, share)) : 0
            let duration = kind == .suspend ? Self.sleep + drawnTime : drawnTime
            let cut = kind == .partition ? Self.some(of: coordinators, &random) : []
            if start >= end { break }
            faults.append(Fault(start: start, duration: duration, kind: kind, target: target, coordinators: cut))
            // A coordinator that sleeps takes nothing from the others.
            if kind != .suspend { places[place] = start + duration }
            // Whoever was killed needs a moment until it is itself again.
            if kind.isOfNode { nodeFree[target] = start + duration + Self.rest } else { coordinatorFree[target] = start + duration + Self.rest }
            now = start + 100 + random.next(min(Self.widest, share))
        }
        self.faults = faults
    }

    private static func shuffled(_ kinds: [FaultKind], _ random: inout FastRandom) -> [FaultKind] {
        var kinds = kinds
        for index in kinds.indices.dropFirst().reversed() { kinds.swapAt(index, random.next(index + 1)) }
        return kinds
    }

    /// At least one of them.
    private static func some(of count: Int, _ random: inout FastRandom) -> [Int] {
        let first = random.next(count)
        return (0..<count).filter { $0 == first || random.next(2) == 0 }
    }
}
