import Testing

/// One rule of the house: a claim, and a search for what breaks it.
struct Rule: Sendable, CustomTestStringConvertible {
    let claim: String
    /// Each violation with its place; empty where the claim is true.
    let violations: @Sendable (House) -> [String]

    init(_ claim: String, _ violations: @escaping @Sendable (House) -> [String]) {
        self.claim = claim
        self.violations = violations
    }

    static let all = doors + concurrency + names + text

    var testDescription: String { claim }
}
