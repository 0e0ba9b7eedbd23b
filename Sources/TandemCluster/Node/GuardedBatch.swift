import TandemPostgres

/// A batch for a session of a pooler, each of whose transactions first makes sure that the server is still the node: a pooler may lead somewhere else by now.
///
/// What finishes a prepared branch stands outside of any transaction and has no guard: on another server it finds no branch, or ends a copy of it there.
struct GuardedBatch {
    /// What is sent.
    let batch: Batch
    /// Where the guard stands in each segment.
    private let places: [Int?]

    init(_ batch: Batch, guard statement: Statement) {
        var guarded = batch
        places = batch.segments.map { segment in
            // Nothing may stand before it.
            if segment.first.map({ leadingKeyword(of: $0.text) }) == "VACUUM" { return nil }
            return switch segment.first.flatMap({ TransactionControl(of: $0.text) }) {
            case nil: segment.isEmpty ? nil : 0
            case .begin: 1
            default: nil
            }
        }
        for (index, place) in places.enumerated() {
            if let place { guarded.segments[index].insert(statement, at: place) }
        }
        self.batch = guarded
    }

    /// The answer as if there were no guards.
    func answer(_ reply: BatchReply) -> BatchReply {
        var reply = reply
        for (index, place) in places.enumerated() where index < reply.segments.count {
            if let place, reply.segments[index].results.count > place { reply.segments[index].results.remove(at: place) }
        }
        return reply
    }
}
