@testable import TandemCore

/// A walk through every state that a configuration can reach, nearest first, so that the first violation has the shortest trace.
///
/// In every state:
/// - **atomic**: never one branch committed and another aborted;
/// - **honest**: where the caller was told `committed` no branch is aborted, where it was told `rolledBack` none is committed;
/// - **quiet**: no machine raises an alarm where no node lost anything.
///
/// From every state:
/// - **live**: some schedule (the coordinator may die in it) finishes every branch, or ends in a branch that is *held*: prepared, while its
///   evidence has been removed behind the horizon.
///
/// Where a **member** goes back to an earlier state, all of this stays true, a branch that is gone (`lost`) counting neither as committed
/// nor as aborted; alarms are allowed; and once everything is quiet, a lost branch of a transaction of which another branch is committed
/// has been reported by a machine, or the rows of the nodes contradict each other, which the clean-up pass reports (A15) before it removes
/// any.
///
/// Where the **commit point** goes back, the register itself has lost an acknowledged decision, and no protocol that trusts it can stay
/// atomic. The promise is then **reported**: once everything is quiet, branches that differ (one committed, another aborted or lost) have
/// been reported by a machine, or the rows contradict each other. What leaves no trace is a decision lost before any member was finished:
/// all branches are then rolled back, alike, as after any failover to a copy without the acknowledged transaction.
///
/// A copy so old that it lacks what the others have already forgotten is outside of this: the retention has to be longer than any copy
/// lags. (A branch that such a copy brings back *prepared* is inside: it is held.)
struct Search {
    enum Property: String, Sendable, CaseIterable { case atomic, honest, quiet, reported, live }

    let configuration: Configuration
    /// The properties that are looked at.
    var properties = Property.allCases

    struct Report {
        let states: Int
        /// The property that fails, or nil.
        let violation: Property?
        /// The way to the violation, one line a step.
        let trace: [String]
        /// How many states have every branch committed, every branch rolled back, a held branch, an alarm.
        let committed: Int
        let rolledBack: Int
        let held: Int
        let reported: Int
    }

    func run() async -> Report {
        let environment = Environment(configuration)
        var walk = Walk(first: environment.start())
        var index = 0
        while index < walk.worlds.count {
            // It takes a minute: others want the thread, too.
            if index.isMultiple(of: 256) { await Task.yield() }
            let world = walk.worlds[index]
            if let violation = violation(world) {
                return report(walk, violation, at: index)
            }
            environment.expand(world)
            for (next, label) in environment.successors { walk.add(next, from: index, label) }
            index += 1
        }
        if properties.contains(.live), let stuck = walk.stuck(unless: isDone) { return report(walk, .live, at: stuck) }
        return report(walk, nil, at: 0)
    }

    private func violation(_ world: World) -> Property? {
        properties.first { $0 != .live && isViolated($0, world) }
    }

    private func isViolated(_ property: Property, _ world: World) -> Bool {
        switch property {
        case .atomic:
            return !configuration.pointGoesBack && world.isAnyCommitted && world.isAnyAborted
        case .honest:
            guard !configuration.pointGoesBack else { return false }
            return world.told == .committed && world.isAnyAborted || world.told == .rolledBack && world.isAnyCommitted
        case .quiet:
            guard !configuration.hasFailover else { return false }
            // Rows that are being removed say nothing any more.
            return world.isReported || isOver(world) && world.areRowsContradictory && !configuration.forgets
        case .reported:
            guard configuration.hasFailover else { return false }
            let differ = world.isAnyCommitted && (world.isAnyAborted || world.isAnyLost)
            return differ && isOver(world) && !world.isReported && !world.areRowsContradictory
        case .live:
            return false
        }
    }

    private func isOver(_ world: World) -> Bool { world.isQuiet && !world.isAnyListed }

    private func isHeld(_ world: World) -> Bool {
        world.isAnyListed && world.row[0] == .absent && world.horizon[0] != .below
    }

    private func isDone(_ world: World) -> Bool {
        let isFinal = world.branch[0].isFinal && world.branch[1].isFinal && world.branch[2].isFinal
        guard world.prepare[1] != .requested, world.prepare[2] != .requested, world.decide == .none else { return false }
        return isFinal || isHeld(world)
    }

    private func report(_ walk: Walk, _ violation: Property?, at index: Int) -> Report {
        Report(
            states: walk.worlds.count, violation: violation, trace: violation == nil ? [] : walk.trace(to: index),
            committed: walk.worlds.count { world in (0..<3).allSatisfy { world.branch[$0] == .committed } },
            rolledBack: walk.worlds.count { world in (0..<3).allSatisfy { world.branch[$0] == .aborted || world.branch[$0] == .none } },
            held: walk.worlds.count(where: isHeld), reported: walk.worlds.count(where: \.isReported))
    }
}

/// The states reached so far and how.
private struct Walk {
    private(set) var worlds: [World]
    private var numbers: [World.Key: Int32]
    private var parents: [Int32] = [-1]
    private var labels: [Label?] = [nil]
    private var origins: [Int32] = []
    private var targets: [Int32] = []

    init(first: World) {
        worlds = [first]
        numbers = [first.key: 0]
    }

    mutating func add(_ world: World, from origin: Int, _ label: Label) {
        let number = Int32(worlds.count)
        let known = numbers[world.key]
        origins.append(Int32(origin))
        targets.append(known ?? number)
        guard known == nil else { return }
        numbers[world.key] = number
        worlds.append(world)
        parents.append(Int32(origin))
        labels.append(label)
    }

    /// A state from which no schedule ends in one that is done, the nearest one, or nil.
    func stuck(unless isDone: (World) -> Bool) -> Int? {
        // The edges backwards, in one array ordered by target.
        var starts = [Int](repeating: 0, count: worlds.count + 1)
        for target in targets { starts[Int(target) + 1] += 1 }
        for index in 1..<starts.count { starts[index] += starts[index - 1] }
        var fill = starts
        var backwards = [Int32](repeating: 0, count: targets.count)
        for (edge, target) in targets.enumerated() {
            backwards[fill[Int(target)]] = origins[edge]
            fill[Int(target)] += 1
        }
        var isLive = worlds.map(isDone)
        var todo = isLive.indices.filter { isLive[$0] }
        while let index = todo.popLast() {
            for origin in backwards[starts[index]..<starts[index + 1]] where !isLive[Int(origin)] {
                isLive[Int(origin)] = true
                todo.append(Int(origin))
            }
        }
        return isLive.firstIndex(of: false)
    }

    func trace(to index: Int) -> [String] {
        var lines: [String] = []
        var index = index
        while index >= 0 {
            let step = labels[index].map { "\($0.text) \($0.index)" } ?? "start"
            lines.append("\(step)\n        \(worlds[index])")
            index = Int(parents[index])
        }
        return lines.reversed()
    }
}
