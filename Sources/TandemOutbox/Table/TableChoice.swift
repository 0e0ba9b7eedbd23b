import TandemCore

/// What of a claim is sent.
struct TableChoice: Sendable {
    /// What is sent, in its order.
    private(set) var ready: [TableRow] = []
    /// Rows that cannot become events.
    private(set) var unfit: [(TableRow, TandemError)] = []
    /// Aggregates of which somebody else has a row: the later ones of it wait.
    private(set) var skipped: Set<String> = []
    /// Whether not everything has fitted.
    private(set) var isCut = false

    /// A choice.
    ///
    /// - Parameters:
    ///   - rows: a claim.
    ///   - limit: the most bytes, but for the first row.
    init(_ rows: [TableRow], most limit: Int) {
        // Aggregates of which a row stays behind.
        var blocked: Set<String> = []
        var bytes = 0
        for row in rows {
            guard let size = row.bytes else {
                if let key = row.key {
                    blocked.insert(key)
                    skipped.insert(key)
                }
                continue
            }
            if let key = row.key, !row.isAhead || blocked.contains(key) { continue }
            if let error = Self.defect(of: row, size) {
                unfit.append((row, error))
                if let key = row.key { blocked.insert(key) }
                continue
            }
            guard ready.isEmpty || bytes + size <= limit else {
                // All that follows waits for the next batch.
                isCut = true
                return
            }
            bytes += size
            ready.append(row)
        }
    }

    private static func defect(of row: TableRow, _ size: Int) -> TandemError? {
        if !row.isTyped { return TandemError(.eventRefused, "the row has no type", nextStep: "give it one") }
        guard size > TableStore.largest else { return nil }
        return TandemError(.eventTooLarge, "the row has \(size) bytes, and at most \(TableStore.largest) are sent")
    }
}
