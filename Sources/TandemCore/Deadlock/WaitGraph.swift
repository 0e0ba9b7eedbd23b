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

    /// Takes out everybody who can go on, and those for whom nobody waits, each once.
    private mutating func reduce() {
        let waits = Dictionary(grouping: edges, by: \.waiter), blocks = Dictionary(grouping: edges, by: \.blocker)
        // Waits of each that are left; of permits one is enough.
        var locks = waits.mapValues { $0.count { $0.session != nil } }
        var permits = waits.compactMapValues { edges in edges.contains { $0.session == nil } ? true : nil }
        var gone: Set<WaitEdge.Vertex> = []
        var free = blocks.keys.filter { waits[$0] == nil }
        while let vertex = free.popLast() {
            guard gone.insert(vertex).inserted else { continue }
            for edge in blocks[vertex] ?? [] {
                if edge.session == nil { permits[edge.waiter] = nil } else { locks[edge.waiter, default: 0] -= 1 }
                if locks[edge.waiter, default: 0] <= 0 && permits[edge.waiter] == nil { free.append(edge.waiter) }
            }
        }
        // Who is waited for by nobody that is left is in no circle.
        var incoming: [WaitEdge.Vertex: Int] = [:]
        for edge in edges where !gone.contains(edge.waiter) { incoming[edge.blocker, default: 0] += 1 }
        var idle = waits.keys.filter { !gone.contains($0) && incoming[$0] == nil }
        while let vertex = idle.popLast() {
            guard gone.insert(vertex).inserted else { continue }
            for edge in waits[vertex] ?? [] {
                incoming[edge.blocker, default: 1] -= 1
                if incoming[edge.blocker] == 0 { idle.append(edge.blocker) }
            }
        }
        edges = edges.filter { !gone.contains($0.waiter) && !gone.contains($0.blocker) }
    }

    private mutating func remove(_ vertex: WaitEdge.Vertex) { edges = edges.filter { $0.waiter != vertex && $0.blocker != vertex } }

    private func shortestCycle() -> [WaitEdge]? {
        // In one order, so that all who look come to the same circle.
        let next = Dictionary(grouping: edges, by: \.waiter).mapValues { $0.sorted { $0.blocker < $1.blocker } }
        var shortest: [WaitEdge]?
        for start in next.keys.sorted() {
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
            if shortest?.count ?? .max <= 2 { break }
        }
        return shortest
    }

    private static func deadlock(of cycle: [WaitEdge]) -> Deadlock? {
        guard !isLocal(cycle) else { return nil }
        var candidates: [(transaction: TransactionID, edge: WaitEdge, isBystander: Bool)] = []
        for (index, edge) in cycle.enumerated() {
            guard case .transaction(let transaction) = edge.waiter, edge.session != nil, edge.kind != .other else { continue }
            // Who is waited for only because it is its turn holds nothing that anybody in the circle needs: the next in the row would take its place.
            let before = cycle[(index + cycle.count - 1) % cycle.count]
            candidates.append((transaction, edge, before.kind == .turn))
        }
        let holders = candidates.filter { !$0.isBystander }
        guard let youngest = (holders.isEmpty ? candidates : holders).max(by: { $0.transaction < $1.transaction }) else { return nil }
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
