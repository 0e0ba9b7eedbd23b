/// Finds short cycles, with bounded effort.
///
/// Where a component is small the shortest cycle is found. Finding it in a component of many thousand transactions would take a walk through all of it
/// from each of them, so the walks end when they have passed so many edges, and what was found until then has to do.
struct CycleSearch {
    /// How many edges may be passed: some tenths of a second in all.
    struct Budget: Sendable {
        /// By the walks in one component.
        var component = 4_000_000
        /// By all walks for shortest cycles, and by all that look for a single rw.
        var total = 24_000_000
        /// By all sweeps.
        var sweeps = 80_000_000
    }

    /// An edge, and where it comes from.
    struct Link: Hashable {
        let source: Int
        let edge: Int
    }

    struct Cycle: Hashable {
        var links: [Link]
        /// Whether the component has no shorter one.
        var isShortest: Bool
    }

    /// What a search for a cycle with a single rw has brought.
    enum Single {
        case found(Cycle)
        case absent
        /// The effort was over before one was found, or the component was known to have none.
        case cutOff
    }

    /// The vertices that a walk may enter: those of one component, and of them those above a rank.
    private struct Area {
        let numbers: [Int32]
        let component: Int32
        let ranks: [Int32]
        var floor: Int32 = -1

        func holds(_ vertex: Int) -> Bool { numbers[vertex] == component && ranks[vertex] > floor }
    }

    private let graph: DependencyGraph
    private let budget: Budget
    private var shortestLeft: Int
    private var singlesLeft: Int
    private var sweepsLeft: Int
    /// Edges that the present search may still pass.
    private var allowance = 0

    // The state of a walk.
    /// The walk in which each vertex was entered last.
    private var seen: [Int32]
    /// By which edge each was entered.
    private var entrances: [Link]
    private var queue: [Int] = []
    private var walk: Int32 = 0

    init(_ graph: DependencyGraph, _ budget: Budget) {
        self.graph = graph
        self.budget = budget
        (shortestLeft, singlesLeft, sweepsLeft) = (budget.total, budget.total, budget.sweeps)
        seen = [Int32](repeating: 0, count: graph.vertices)
        entrances = [Link](repeating: Link(source: 0, edge: 0), count: graph.vertices)
    }

    /// The shortest cycle of a component.
    ///
    /// - Parameters:
    ///   - component: a component with a cycle. It is searched once: the walks leave marks.
    ///   - components: all of them.
    ///   - kind: the last kind of edges that count; the one that made the components.
    /// - Returns: a cycle; nil only where there is none.
    mutating func shortest(in component: Int, of components: StrongComponents, upTo kind: DependencyGraph.Kind) -> Cycle? {
        allowance = min(budget.component, shortestLeft)
        let before = allowance
        defer { shortestLeft -= before - max(0, allowance) }
        let area = Area(numbers: components.numbers, component: Int32(component), ranks: components.numbers)
        var best: [Link]?
        for start in components.members(of: component) {
            // The first walk is not cut off: whatever the budget, there is a cycle to show.
            if best != nil, allowance <= 0 { break }
            if let links = path(from: start, to: start, upTo: kind, in: area, most: best.map { $0.count - 1 } ?? .max, isBounded: best != nil) { best = links }
            // There is none of one.
            if best?.count == 2 { break }
            // The shortest cycle through this one is known: no other walk needs to come here.
            seen[start] = .max
        }
        return best.map { Cycle(links: $0, isShortest: allowance > 0 || $0.count == 2) }
    }

    /// A cycle with exactly one rw, in a component that has none without: the edges before rw lead nowhere back.
    ///
    /// - Parameters:
    ///   - component: the component.
    ///   - components: all of them.
    ///   - ranks: the components by ww and wr alone, each of one vertex here. An edge leads to a lower number, which tells most walks where not to go.
    ///   - isDescribed: whether the cycle is to be short; otherwise the first one does.
    /// - Returns: a cycle; the shortest where the budget is enough.
    mutating func single(in component: Int, of components: StrongComponents, ranks: StrongComponents, isDescribed: Bool) -> Single {
        allowance = min(budget.component, singlesLeft)
        let before = allowance
        defer { singlesLeft -= before - max(0, allowance) }
        var area = Area(numbers: components.numbers, component: Int32(component), ranks: ranks.numbers)
        var best: [Link]?
        for reader in components.members(of: component) {
            for edge in graph.overwritten(by: reader) where components.numbers[graph.target(edge)] == component {
                guard allowance > 0 else { break }
                let writer = graph.target(edge)
                allowance -= 1
                guard ranks.numbers[writer] > ranks.numbers[reader] else { continue }
                area.floor = ranks.numbers[reader]
                let most = best.map { $0.count - 2 } ?? .max
                guard let back = path(from: writer, to: reader, upTo: .wr, in: area, most: most, isBounded: true) else { continue }
                best = [Link(source: reader, edge: edge)] + back
                if back.count == 1 || !isDescribed { return .found(Cycle(links: [Link(source: reader, edge: edge)] + back, isShortest: back.count == 1)) }
            }
        }
        if let best { return .found(Cycle(links: best, isShortest: allowance > 0)) }
        if allowance > 0 { return .absent }
        return swept(components.members(of: component), &area)
    }

    /// The walks were too many. Whether there is a cycle is still to be known, however long it is.
    private mutating func swept(_ members: ArraySlice<Int>, _ area: inout Area) -> Single {
        switch OverwriteSweep(members, ranks: area.ranks, graph).find(&sweepsLeft) {
        case .absent: return .absent
        case .cutOff: return .cutOff
        case .found(let reader, let edge):
            area.floor = area.ranks[reader]
            let back = path(from: graph.target(edge), to: reader, upTo: .wr, in: area, most: .max, isBounded: false)
            return back.map { .found(Cycle(links: [Link(source: reader, edge: edge)] + $0, isShortest: false)) } ?? .absent
        }
    }
}

extension CycleSearch {
    /// The shortest path, breadth first.
    ///
    /// - Parameters:
    ///   - start: where it begins.
    ///   - goal: where it ends. If that is the start, it is a cycle.
    ///   - kind: the last kind of edges that count.
    ///   - area: where it may go; the goal need not lie in it.
    ///   - most: how many edges it may have.
    ///   - isBounded: whether the allowance counts.
    /// - Returns: its edges; nil where there is none, or the allowance was over.
    private mutating func path(
        from start: Int, to goal: Int, upTo kind: DependencyGraph.Kind, in area: Area, most: Int, isBounded: Bool
    ) -> [Link]? {
        walk += 1
        queue.removeAll(keepingCapacity: true)
        queue.append(start)
        seen[start] = walk
        var next = 0, length = 0, lengthEnd = 1
        while next < queue.count, !isBounded || allowance > 0 {
            if next == lengthEnd { (length, lengthEnd) = (length + 1, queue.count) }
            guard length < most else { return nil }
            let vertex = queue[next]
            next += 1
            let edges = graph.edges(from: vertex, upTo: kind)
            allowance -= edges.count
            for edge in edges {
                let target = graph.target(edge)
                if target == goal { return links(to: Link(source: vertex, edge: edge), from: start) }
                guard area.holds(target), seen[target] < walk else { continue }
                seen[target] = walk
                entrances[target] = Link(source: vertex, edge: edge)
                queue.append(target)
            }
        }
        return nil
    }

    private func links(to last: Link, from start: Int) -> [Link] {
        var links = [last]
        var vertex = last.source
        while vertex != start {
            links.append(entrances[vertex])
            vertex = entrances[vertex].source
        }
        return links.reversed()
    }
}
