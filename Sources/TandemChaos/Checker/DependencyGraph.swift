/// Which transaction comes before which, and by which append that is seen.
///
/// The edges of a transaction stand next to each other, in the order of their kinds: those of the first kinds alone are a part of that row, so one
/// graph serves as three.
struct DependencyGraph: Sendable {
    /// Why one transaction comes before another.
    enum Kind: Int, Sendable {
        /// It appended an element, and the other the next one.
        case ww
        /// It appended an element, and that is the last one of others that the other read.
        case wr
        /// It read a list, and the other appended the next element.
        case rw
    }

    /// An edge on its way into its row.
    private struct Edge {
        let source: Int
        let kind: Kind
        let target: Int
        let append: Int

        var row: Int { source * 3 + kind.rawValue }
    }

    let vertices: Int
    /// Where the edges of each kind of each transaction begin, and where the last ones end.
    private var starts: [Int32]
    private var targets: [Int32]
    private var appends: [Int32]

    /// - Parameters:
    ///   - history: the transactions.
    ///   - orders: the order of each key's elements.
    init(_ history: History, _ orders: VersionOrders) {
        vertices = history.count
        let edges = Self.writes(history, orders) + Self.reads(history, orders)
        starts = [Int32](repeating: 0, count: history.count * 3 + 1)
        targets = [Int32](repeating: 0, count: edges.count)
        appends = targets
        for edge in edges { starts[edge.row + 1] += 1 }
        for row in 1..<starts.count { starts[row] += starts[row - 1] }
        var next = starts
        for edge in edges {
            let place = Int(next[edge.row])
            targets[place] = Int32(edge.target)
            appends[place] = Int32(edge.append)
            next[edge.row] += 1
        }
    }

    /// How many edges there are.
    var edges: Int { targets.count }

    /// The edges from a transaction, of the kinds up to one.
    func edges(from vertex: Int, upTo kind: Kind) -> Range<Int> { Int(starts[vertex * 3])..<Int(starts[vertex * 3 + kind.rawValue + 1]) }

    /// The edges from a transaction that are reads of what is overwritten.
    func overwritten(by vertex: Int) -> Range<Int> { Int(starts[vertex * 3 + Kind.rw.rawValue])..<Int(starts[vertex * 3 + 3]) }

    func target(_ edge: Int) -> Int { Int(targets[edge]) }

    /// The number of the append by which an edge is seen: for wr the one that was read, for ww and rw the one that came later.
    func append(_ edge: Int) -> Int { Int(appends[edge]) }

    func kind(_ edge: Int, from vertex: Int) -> Kind {
        edge < starts[vertex * 3 + 1] ? .ww : edge < starts[vertex * 3 + 2] ? .wr : .rw
    }
}

extension DependencyGraph {
    /// From each element's transaction to that of the next one.
    private static func writes(_ history: History, _ orders: VersionOrders) -> [Edge] {
        var edges: [Edge] = []
        for key in history.keys.indices {
            var last: Int?
            for case let append? in orders.bearers[orders.places(of: key)] {
                let target = history.appends[append].transaction
                if let last, last != target { edges.append(Edge(source: last, kind: .ww, target: target, append: append)) }
                last = target
            }
        }
        return edges
    }

    /// From the writer of what was read to the reader, and from there to the writer of what comes next.
    private static func reads(_ history: History, _ orders: VersionOrders) -> [Edge] {
        var edges: [Edge] = []
        for reader in 0..<history.count where history.completions[reader] == .ok {
            for operation in history.operations[history.operations(of: reader)] {
                guard case .read(let reading?) = operation.action else { continue }
                let (read, next) = neighbours(reading, of: operation.key, reader, history, orders)
                if let read { edges.append(Edge(source: history.appends[read].transaction, kind: .wr, target: reader, append: read)) }
                if let next, history.appends[next].transaction != reader {
                    edges.append(Edge(source: reader, kind: .rw, target: history.appends[next].transaction, append: next))
                }
            }
        }
        return edges
    }

    /// The last append of others in a list, and the first one behind it.
    ///
    /// Where the list is not the beginning of its key's order, nobody knows what comes behind it.
    private static func neighbours(
        _ reading: History.Reading, of key: Int, _ reader: Int, _ history: History, _ orders: VersionOrders
    ) -> (read: Int?, next: Int?) {
        if orders.holds(reading, of: key, in: history) {
            let place = orders.places(of: key).lowerBound + reading.count
            return (orders.bearer(before: place, of: key, except: reader, in: history.appends), orders.bearer(from: place, of: key))
        }
        for element in history.elements(of: reading, key: key).reversed() {
            guard let append = history.appends.find(element, key: key) else { continue }
            let writer = history.appends[append].transaction
            if writer != reader, history.completions[writer] != .fail { return (append, nil) }
        }
        return (nil, nil)
    }
}
