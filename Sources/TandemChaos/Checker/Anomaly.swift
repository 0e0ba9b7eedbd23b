/// Something in a history that a database of the right kind never shows.
///
/// Sources: Adya, "Weak Consistency: A Generalized Theory and Optimistic Implementations for Distributed Transactions" (1999); Kingsbury and
/// Alvaro, "Elle: Inferring Isolation Anomalies from Experimental Observations" (2020).
package struct Anomaly: Codable, Hashable, Sendable {
    /// The kinds, from what no database may do to what only a serializable one may not.
    package enum Kind: String, Codable, CodingKeyRepresentable, Hashable, Sendable, CaseIterable {
        /// An acknowledged append is not in the final list.
        case lostWrite = "lost-write"
        /// An append that was rolled back is in a final list.
        case abortedWrite = "aborted-write"
        /// Of a transaction whose outcome nobody was told, some appends are in final lists and others are not.
        case halfCommitted = "half-committed"
        /// A list holds an element twice.
        case duplicateWrite = "duplicate-write"
        /// A list holds an element that nobody appended.
        case garbageWrite = "garbage-write"
        /// A list was read that is not the beginning of its key's order.
        case incompatibleOrder = "incompatible-order"
        /// What a transaction read contradicts what it did or read before.
        case `internal` = "internal"
        /// An element was read that was rolled back.
        case g1a = "G1a"
        /// A list was read as it stood between two appends of another transaction.
        case g1b = "G1b"
        /// A cycle of appends, each behind the one before.
        case g0 = "G0"
        /// A cycle of appends, and reads of what was appended.
        case g1c = "G1c"
        /// A cycle with one read that misses what was appended later.
        case gSingle = "G-single"
        /// A cycle with several such reads.
        case g2Item = "G2-item"
    }

    package let kind: Kind
    /// Whether the level forbids it.
    package let isViolation: Bool
    /// In plain words.
    package let message: String
    /// The ids of the transactions that take part; where one has none, the line with which it began.
    package let transactions: [String]
    package let keys: [Int64]
    /// The nodes on which the keys lie.
    package let nodes: [String]
    /// The elements it is about.
    package let values: [Int64]
    /// How the transactions depend on each other, where it is a cycle.
    package let cycle: Cycle?
}

extension Anomaly {
    /// Transactions each of which comes before the next one, and the last before the first.
    package struct Cycle: Codable, Hashable, Sendable {
        /// Whether there is no shorter one among the transactions that depend on each other here.
        package let isShortest: Bool
        /// How many transactions it has.
        package let length: Int
        /// How many transactions depend on each other here, in this cycle and others.
        package let component: Int
        /// Its first steps, all of them unless it is very long.
        package let steps: [Step]
        /// The transactions of these steps.
        package let transactions: [Party]
    }

    /// Why one transaction comes before another.
    package struct Step: Codable, Hashable, Sendable {
        /// `ww`, `wr` or `rw`.
        package let dependency: String
        package let text: String
    }

    /// A transaction in a cycle.
    package struct Party: Codable, Hashable, Sendable {
        /// As the steps call it.
        package let name: String
        /// Its id.
        package let transaction: String
        package let completion: History.Completion
        package let statements: [Statement]
    }

    /// An operation, as a statement.
    package struct Statement: Codable, Hashable, Sendable {
        package let node: String?
        package let sql: String
        /// What it returned, where that is known.
        package let result: String?
    }
}
