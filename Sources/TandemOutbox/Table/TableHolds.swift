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
    private var refused: [String: Refused] = [:]
    private var skipped: [String: ContinuousClock.Instant] = [:]

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
            if let key = row.key { keys.insert(key) } else { ids.append(id) }
        }
        return Held(keys: Array(keys), ids: ids)
    }

    func attempts(of id: String) -> Int { refused[id]?.attempts ?? 0 }

    mutating func refuse(_ row: TableRow, attempts: Int, until time: ContinuousClock.Instant) {
        refused[row.id] = Refused(key: row.key, attempts: attempts, until: time)
    }

    mutating func skip(_ key: String, until time: ContinuousClock.Instant) { skipped[key] = time }

    mutating func forget(_ id: String) { refused[id] = nil }
}
