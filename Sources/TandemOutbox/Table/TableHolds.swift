import TandemCore

/// What waits, in the memory of one relay: another one, or the next, tries it once more.
struct TableHolds: Sendable {
    private struct Refused {
        let key: String?
        let attempts: Int
        let until: ContinuousClock.Instant
    }

    /// What a claim leaves out.
    struct Held: Sendable {
        /// Whole aggregates.
        var keys: [String] = []
        /// Rows without one.
        var ids: [String] = []

        var count: Int { keys.count + ids.count }
    }

    private let longest: Duration
    private var refused: [ExactText: Refused] = [:]
    private var skipped: [ExactText: ContinuousClock.Instant] = [:]

    /// - Parameter longest: the longest that a row waits for its next attempt.
    init(longest: Duration) { self.longest = longest }

    /// Rows that wait for another attempt, without those behind them.
    var refusedRows: Int { refused.count }

    /// What waits at a time.
    mutating func held(at now: ContinuousClock.Instant) -> Held {
        skipped = skipped.filter { $0.value > now }
        // One that has been due for long was not seen again: somebody has removed it, or sent it.
        refused = refused.filter { $0.value.until + longest * 2 > now }
        var keys = Set(skipped.keys), ids: [String] = []
        for (id, row) in refused where row.until > now {
            if let key = row.key { keys.insert(ExactText(key)) } else { ids.append(id.text) }
        }
        return Held(keys: keys.map(\.text), ids: ids)
    }

    func attempts(of id: String) -> Int { refused[ExactText(id)]?.attempts ?? 0 }

    mutating func refuse(_ row: TableRow, attempts: Int, until time: ContinuousClock.Instant) {
        refused[ExactText(row.id)] = Refused(key: row.key, attempts: attempts, until: time)
    }

    mutating func skip(_ key: String, until time: ContinuousClock.Instant) { skipped[ExactText(key)] = time }

    mutating func forget(_ id: String) { refused[ExactText(id)] = nil }
}
