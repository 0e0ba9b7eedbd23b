/// What a check of a history has found.
package struct CheckReport: Codable, Hashable, Sendable {
    package let level: ListAppendChecker.Level
    package let transactions: Int
    package let ok: Int
    package let fail: Int
    package let info: Int
    package let keys: Int
    /// Keys to which acknowledged transactions appended and whose final list is unknown: what is lost there is not noticed.
    ///
    /// Where the final reads are complete, with an empty list for a row that is not there, there are none.
    package let keysWithoutFinalRead: Int
    /// Elements in the lists of all keys.
    package let elements: Int
    /// Dependencies between transactions.
    package let edges: Int
    /// Lines about something else than transactions.
    package let skippedLines: Int
    /// Whether the last line was cut off, and so ignored.
    package let isTruncated: Bool
    /// How many there are of each kind that was found.
    ///
    /// Cycles count as the groups of transactions that depend on each other and hold one of the kind; a duplicate or unknown element counts once,
    /// however often it was read.
    package let counts: [Anomaly.Kind: Int]
    /// Descriptions of the first of each kind, at most ``Findings/mostOfAKind``.
    package let anomalies: [Anomaly]
    /// How many anomalies, described or not, the level forbids.
    package let violations: Int
}
