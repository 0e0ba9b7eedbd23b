/// Who waits for whom, over all nodes, and who has to give way.
///
/// A lock is waited for until all of its blockers are gone; a permit of this process until one of its holders is. So nobody is deadlocked who can go on when
/// everybody goes on who can: whoever waits for nothing is taken out, with the waits for it, until nobody else can be. What is left waits for ever.
///
/// Sources: Holt, "Some Deadlock Properties of Computer Systems" (1972), for the reduction; Greenplum's global deadlock detector, for the use of it over several
/// nodes.
package struct WaitGraph: Sendable {
    /// A circle of waits, and who has to give way.
    package struct Deadlock: Sendable, Equatable {
        /// Each wait's blocker is the next one's waiter, and the last one's the first one's.
        package let cycle: [WaitEdge]
        /// The youngest global transaction of the circle.
        package let victim: TransactionID
        /// The victim's session that waits.
        package let edge: WaitEdge
    }

    private var edges: Set<WaitEdge>

    /// - Parameters:
    ///   - first: The waits of one look at all nodes,
    ///   - second: and those of another one that began when the first had ended everywhere. A wait counts that is the same in both: the nodes are not seen at one
    ///     instant, and waits that follow each other could look like a circle.
    package init(_ first: [WaitEdge], confirmedBy second: [WaitEdge]) {
        edges = Set(first).intersection(second)
    }

    /// The deadlocks that no node can see, each with a victim; what is left of them when their victims are gone is looked at again.
    ///
    /// - Returns: the deadlocks, in no order.
    package mutating func deadlocks() -> [Deadlock] {
        var found: [Deadlock] = []
        while true {
            reduce()
            guard let cycle = shortestCycle() else { return found }
            guard let deadlock = Self.deadlock(of: cycle) else {
                // A server's own, or none of ours: it is not for us, and may hide others.
                remove(cycle[0].waiter)
                continue
            }
            found.append(deadlock)
            remove(.transaction(deadlock.victim))
        }
    }

    /// Takes out everybody who can go on.
    private mutating func reduce() {
        let choices = Dictionary(grouping: edges.filter { $0.session == nil }, by: \.waiter).mapValues(\.count)
        while true {
            let waiting = Dictionary(grouping: edges, by: \.waiter)
            let free = edges.filter { waiting[$0.blocker] == nil }
            guard !free.isEmpty else { return }
            edges.subtract(free)
            // One permit is enough.
            for (waiter, count) in choices where edges.count(where: { $0.waiter == waiter && $0.session == nil }) < count {
                edges = edges.filter { $0.waiter != waiter || $0.session != nil }
            }
        }
    }

    private mutating func remove(_ vertex: WaitEdge.Vertex) { edges = edges.filter { $0.waiter != vertex && $0.blocker != vertex } }

    private func shortestCycle() -> [WaitEdge]? {
        let next = Dictionary(grouping: edges, by: \.waiter)
        var shortest: [WaitEdge]?
        for start in next.keys {
            // Everybody to whom the waits lead, with the wait that leads there first.
            var reached: [WaitEdge.Vertex: WaitEdge] = [:]
            var queue = [start]
            var position = 0
            search: while position < queue.count {
                let vertex = queue[position]
                position += 1
                for edge in next[vertex] ?? [] where reached[edge.blocker] == nil {
                    reached[edge.blocker] = edge
                    if edge.blocker == start { break search }
                    queue.append(edge.blocker)
                }
            }
            guard var edge = reached[start] else { continue }
            var cycle = [edge]
            while edge.waiter != start, let before = reached[edge.waiter] {
                cycle.append(before)
                edge = before
            }
            cycle.reverse()
            if cycle.count < shortest?.count ?? .max { shortest = cycle }
        }
        return shortest
    }

    private static func deadlock(of cycle: [WaitEdge]) -> Deadlock? {
        guard !isLocal(cycle) else { return nil }
        var candidates: [(transaction: TransactionID, edge: WaitEdge)] = []
        for edge in cycle {
            if case .transaction(let transaction) = edge.waiter, edge.session != nil { candidates.append((transaction, edge)) }
        }
        guard let youngest = candidates.max(by: { $0.transaction < $1.transaction }) else { return nil }
        return Deadlock(cycle: cycle, victim: youngest.transaction, edge: youngest.edge)
    }

    /// Whether the server sees the circle, too: every wait is on one node, and each session that is waited for is the one that waits.
    private static func isLocal(_ cycle: [WaitEdge]) -> Bool {
        cycle.indices.allSatisfy { index in
            let next = cycle[(index + 1) % cycle.count]
            return cycle[index].node == next.node && cycle[index].blockingProcess == next.session?.process
        }
    }
}
