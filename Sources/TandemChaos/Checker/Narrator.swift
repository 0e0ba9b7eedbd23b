/// Puts what was found into words.
struct Narrator {
    private let history: History
    private let orders: VersionOrders

    /// Steps of a cycle that are told; nobody reads more.
    private static let mostSteps = 32

    init(_ history: History, _ orders: VersionOrders) {
        self.history = history
        self.orders = orders
    }

    /// The id of a transaction; where it has none, the line with which it began.
    func id(_ transaction: Int) -> String {
        let id = history.id(of: transaction)
        return id.isEmpty ? "line \(history.lines[transaction])" : id
    }

    /// A key, and the node on which it lies.
    func key(_ key: Int) -> String {
        "key \(history.keys[key])" + (history.node(of: key).map { " on \($0)" } ?? "")
    }

    /// An anomaly of a draft, with names instead of numbers.
    func anomaly(_ kind: Anomaly.Kind, isViolation: Bool, _ draft: Findings.Draft) -> Anomaly {
        Anomaly(
            kind: kind, isViolation: isViolation, message: draft.message, transactions: unique(draft.transactions.map(id)),
            keys: unique(draft.keys.map { history.keys[$0] }), nodes: unique(draft.keys.compactMap(history.node)), values: unique(draft.values),
            cycle: draft.cycle)
    }

    private func unique<Value: Hashable>(_ values: [Value]) -> [Value] {
        var seen: Set<Value> = []
        return values.filter { seen.insert($0).inserted }
    }
}

// Cycles.
extension Narrator {
    /// A cycle in words.
    ///
    /// - Parameters:
    ///   - cycle: the cycle.
    ///   - component: all transactions that depend on each other here.
    ///   - graph: the dependencies.
    ///   - note: what else is to be said.
    /// - Returns: the description.
    func cycle(_ cycle: CycleSearch.Cycle?, component: ArraySlice<Int>, _ graph: DependencyGraph, note: String = "") -> Findings.Draft {
        guard let cycle else { return Findings.Draft(message: "\(component.count) transactions depend on each other", transactions: Array(component)) }
        let links = cycle.links.prefix(Self.mostSteps)
        let steps = links.indices.map { step($0, cycle.links, graph) }
        let members = links.map(\.source)
        let appends = links.map { history.appends[graph.append($0.edge)] }
        let left = cycle.links.count - links.count
        let message =
            "\(cycle.isShortest ? "" : "perhaps not the shortest: ")\(cycle.links.count) transactions in a circle, in a component of \(component.count): "
            + steps.map(\.text).joined(separator: "; ") + (left > 0 ? "; and \(left) more steps" : "") + (note.isEmpty ? "" : "; \(note)")
        return Findings.Draft(
            message: message, transactions: members, keys: appends.map(\.key), values: appends.map(\.value),
            cycle: Anomaly.Cycle(
                isShortest: cycle.isShortest, length: cycle.links.count, component: component.count, steps: steps,
                transactions: members.enumerated().map { party("T\($0 + 1)", $1) }))
    }

    private func step(_ place: Int, _ links: [CycleSearch.Link], _ graph: DependencyGraph) -> Anomaly.Step {
        let (link, next) = (links[place], (place + 1) % links.count)
        let from = "T\(place + 1) (\(id(link.source)))", to = "T\(next + 1) (\(id(links[next].source)))"
        let number = graph.append(link.edge)
        let append = history.appends[number]
        switch graph.kind(link.edge, from: link.source) {
        case .ww:
            let before = element(before: number).map { "\($0)" } ?? "an element"
            return Anomaly.Step(dependency: "ww", text: "\(from) appended \(before) to \(key(append.key)) -> \(to) appended \(append.value) after it (ww)")
        case .wr:
            return Anomaly.Step(dependency: "wr", text: "\(from) appended \(append.value) to \(key(append.key)) -> \(to) read it (wr)")
        case .rw:
            return Anomaly.Step(
                dependency: "rw", text: "\(from) read \(key(append.key)) when \(append.value) was not in it -> \(to) appended \(append.value) (rw)")
        }
    }

    /// The element behind which an append was made, as far as elements order transactions.
    private func element(before append: Int) -> Int64? {
        let (key, transaction) = (history.appends[append].key, history.appends[append].transaction)
        guard let place = orders.places(of: key).first(where: { orders.bearers[$0] == append }) else { return nil }
        return orders.bearer(before: place, of: key, except: transaction, in: history.appends).map { history.appends[$0].value }
    }

    private func party(_ name: String, _ transaction: Int) -> Anomaly.Party {
        Anomaly.Party(
            name: name, transaction: id(transaction), completion: history.completions[transaction],
            statements: history.operations[history.operations(of: transaction)].map(statement))
    }

    private func statement(_ operation: History.Operation) -> Anomaly.Statement {
        let key = history.keys[operation.key], node = history.node(of: operation.key)
        switch operation.action {
        case .append(let value):
            return Anomaly.Statement(node: node, sql: "UPDATE chaos_list SET elements = elements || \(value) WHERE key = \(key)", result: nil)
        case .read(let reading):
            return Anomaly.Statement(node: node, sql: "SELECT elements FROM chaos_list WHERE key = \(key)", result: reading.map { result($0, operation.key) })
        }
    }

    /// What a read returned: its end, since lists are long and their beginnings the same.
    private func result(_ reading: History.Reading, _ key: Int) -> String {
        guard reading.count > 0 else { return "nothing" }
        let last = history.element(reading.count - 1, of: reading, key: key)
        return reading.count == 1 ? "the element \(last)" : "\(reading.count) elements up to \(last)"
    }
}
