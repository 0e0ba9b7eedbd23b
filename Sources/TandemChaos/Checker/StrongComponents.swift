/// The groups of transactions in which each comes before each other: where there is more than one in a group, there is a cycle.
///
/// Source: Tarjan, "Depth-first search and linear graph algorithms" (1972), with a stack of its own, since paths may be as long as the history.
struct StrongComponents: Sendable {
    /// The component of each vertex. An edge leads to the same number or to a lower one.
    private(set) var numbers: [Int32]
    /// The vertices, one component after the other.
    private var members: [Int] = []
    private var starts: [Int] = [0]

    /// - Parameters:
    ///   - graph: the graph.
    ///   - kind: the last kind of edges that count.
    init(_ graph: DependencyGraph, upTo kind: DependencyGraph.Kind) {
        numbers = [Int32](repeating: -1, count: graph.vertices)
        members.reserveCapacity(graph.vertices)
        var walk = Walk(graph.vertices)
        for root in 0..<graph.vertices where walk.order[root] == 0 {
            walk.enter(root, edges: graph.edges(from: root, upTo: kind))
            while let vertex = walk.path.last {
                if let edge = walk.nextEdge() {
                    let target = graph.target(edge)
                    if walk.order[target] == 0 {
                        walk.enter(target, edges: graph.edges(from: target, upTo: kind))
                    } else if numbers[target] < 0 {
                        walk.lowest[vertex] = min(walk.lowest[vertex], walk.order[target])
                    }
                } else {
                    if walk.lowest[vertex] == walk.order[vertex] { close(vertex, &walk) }
                    walk.leave()
                }
            }
        }
    }

    /// A depth-first walk.
    private struct Walk {
        /// When each vertex was entered, from 1; 0 is not yet.
        var order: [Int32]
        /// The earliest vertex, still without a component, that each leads back to.
        var lowest: [Int32]
        /// From the root to where the walk is, and the edges that each of these still has to go.
        var path: [Int] = []
        private var edges: [Range<Int>] = []
        /// Vertices that were entered and have no component yet.
        var waiting: [Int] = []
        private var clock: Int32 = 0

        init(_ vertices: Int) {
            order = [Int32](repeating: 0, count: vertices)
            lowest = order
        }

        mutating func enter(_ vertex: Int, edges: Range<Int>) {
            clock += 1
            order[vertex] = clock
            lowest[vertex] = clock
            path.append(vertex)
            self.edges.append(edges)
            waiting.append(vertex)
        }

        mutating func nextEdge() -> Int? { edges[edges.count - 1].popFirst() }

        /// Goes back to where the vertex was entered from.
        mutating func leave() {
            edges.removeLast()
            guard let vertex = path.popLast(), let parent = path.last else { return }
            lowest[parent] = min(lowest[parent], lowest[vertex])
        }
    }

    /// All that was entered after a vertex which leads to nothing earlier is a component together with it.
    private mutating func close(_ vertex: Int, _ walk: inout Walk) {
        let number = Int32(starts.count - 1)
        while let member = walk.waiting.popLast() {
            numbers[member] = number
            members.append(member)
            if member == vertex { break }
        }
        starts.append(members.count)
    }
}

extension StrongComponents {
    func members(of component: Int) -> ArraySlice<Int> { members[starts[component]..<starts[component + 1]] }

    /// The components with a cycle, the small ones first.
    var knots: [Int] {
        (0..<(starts.count - 1)).filter { starts[$0 + 1] - starts[$0] > 1 }.sorted { (members(of: $0).count, $0) < (members(of: $1).count, $1) }
    }
}
