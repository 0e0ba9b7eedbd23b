/// Tells whether any rw of a component leads to where it came from, of all of them together.
///
/// A walk for each rw may pass the whole component every time. Where ww and wr make no cycle, their edges can be gone once, in order, and each vertex hands
/// on from which of 512 origins it is reached: few such rounds do for many thousand walks.
struct OverwriteSweep {
    enum Finding {
        /// An rw, by the vertex that it comes from and its edge.
        case found(reader: Int, edge: Int)
        case absent
        /// The effort was over before.
        case cutOff
    }

    private typealias Origins = SIMD8<UInt64>
    private static let width = 512

    private let graph: DependencyGraph
    /// The vertices, each before those to which its ww and wr lead.
    private let vertices: [Int]
    /// The place of each vertex in ``vertices``; nil for those of other components.
    private var places: [Int32?]
    /// The places of the vertices to which an rw leads, in order, and by place which of them each is.
    private var origins: [Int] = []
    private var numbers: [Int]

    /// - Parameters:
    ///   - members: the component.
    ///   - ranks: numbers that get lower along ww and wr.
    ///   - graph: the dependencies.
    init(_ members: ArraySlice<Int>, ranks: [Int32], _ graph: DependencyGraph) {
        self.graph = graph
        vertices = members.sorted { ranks[$0] > ranks[$1] }
        places = [Int32?](repeating: nil, count: graph.vertices)
        for (place, vertex) in vertices.enumerated() { places[vertex] = Int32(place) }
        numbers = [Int](repeating: -1, count: vertices.count)
        for vertex in vertices {
            for edge in graph.overwritten(by: vertex) {
                if let place = places[graph.target(edge)] { numbers[Int(place)] = 0 }
            }
        }
        origins = numbers.indices.filter { numbers[$0] == 0 }
        for (number, place) in origins.enumerated() { numbers[place] = number }
    }

    /// - Parameter effort: how many edges may be passed; what was passed is taken off.
    /// - Returns: the first rw that closes a cycle.
    func find(_ effort: inout Int) -> Finding {
        var reached = [Origins](repeating: .zero, count: vertices.count)
        for first in stride(from: 0, to: origins.count, by: Self.width) {
            guard effort > 0 else { return .cutOff }
            let round = first..<min(first + Self.width, origins.count)
            for place in origins[first]..<vertices.count { reached[place] = .zero }
            if let (reader, edge) = sweep(round, &reached, &effort) { return .found(reader: reader, edge: edge) }
        }
        return .absent
    }

    private func sweep(_ round: Range<Int>, _ reached: inout [Origins], _ effort: inout Int) -> (reader: Int, edge: Int)? {
        for number in round { reached[origins[number]][(number - round.lowerBound) / 64] = 1 << UInt64((number - round.lowerBound) % 64) }
        for place in origins[round.lowerBound]..<vertices.count {
            let vertex = vertices[place], from = reached[place]
            guard from != .zero else { continue }
            let edges = graph.edges(from: vertex, upTo: .rw), overwritten = graph.overwritten(by: vertex)
            effort -= edges.count
            for edge in edges {
                guard let target = places[graph.target(edge)].map(Int.init) else { continue }
                if !overwritten.contains(edge) {
                    reached[target] |= from
                } else if round.contains(numbers[target]) {
                    let number = numbers[target] - round.lowerBound
                    if from[number / 64] & 1 << UInt64(number % 64) != 0 { return (vertex, edge) }
                }
            }
        }
        return nil
    }
}
