/// Looks for cycles, and tells of which kind each is.
///
/// A component of all dependencies may hold components of ww and wr alone, and those some of ww alone. The strictest says most: a component is
/// reported for what it is only if there is none inside it that is reported already.
struct CycleScan {
    private let graph: DependencyGraph
    private let budget: CycleSearch.Budget

    init(_ graph: DependencyGraph, _ budget: CycleSearch.Budget) {
        self.graph = graph
        self.budget = budget
    }

    /// - Parameter findings: where what is found goes.
    func run(_ findings: inout Findings) {
        let all = StrongComponents(graph, upTo: .rw)
        guard !all.knots.isEmpty else { return }
        let writes = StrongComponents(graph, upTo: .ww)
        let reads = StrongComponents(graph, upTo: .wr)
        var search = CycleSearch(graph, budget)
        for knot in writes.knots { add(.g0, knot, of: writes, upTo: .ww, &search, &findings) }
        for knot in reads.without(writes) { add(.g1c, knot, of: reads, upTo: .wr, &search, &findings) }
        for knot in all.without(reads) { addOverwritten(knot, of: all, ranks: reads, &search, &findings) }
    }

    private func add(
        _ kind: Anomaly.Kind, _ knot: Int, of components: StrongComponents, upTo last: DependencyGraph.Kind, _ search: inout CycleSearch,
        _ findings: inout Findings
    ) {
        findings.add(kind) { narrator in
            narrator.cycle(search.shortest(in: knot, of: components, upTo: last), component: components.members(of: knot), graph)
        }
    }

    /// A component with a cycle only through rw.
    private func addOverwritten(
        _ knot: Int, of components: StrongComponents, ranks: StrongComponents, _ search: inout CycleSearch, _ findings: inout Findings
    ) {
        let single = search.single(in: knot, of: components, ranks: ranks, isDescribed: findings.describes(.gSingle))
        switch single {
        case .found(let cycle):
            findings.add(.gSingle) { $0.cycle(cycle, component: components.members(of: knot), graph) }
        case .absent:
            add(.g2Item, knot, of: components, upTo: .rw, &search, &findings)
        case .cutOff:
            // The shortest may happen to be one with a single rw.
            let cycle = search.shortest(in: knot, of: components, upTo: .rw)
            let isSingle = cycle.map { $0.links.count { graph.kind($0.edge, from: $0.source) == .rw } == 1 } ?? false
            let note = isSingle ? "" : "the search for a cycle with a single rw was cut off, so there may be a G-single as well"
            findings.add(isSingle ? .gSingle : .g2Item) { $0.cycle(cycle, component: components.members(of: knot), graph, note: note) }
        }
    }
}

extension StrongComponents {
    /// The components with a cycle that hold none of the components with a cycle of a stricter graph.
    func without(_ stricter: StrongComponents) -> [Int] {
        let reported = Set(stricter.knots.compactMap { stricter.members(of: $0).first }.map { Int(numbers[$0]) })
        return knots.filter { !reported.contains($0) }
    }
}
