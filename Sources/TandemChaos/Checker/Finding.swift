/// What a check has found.
package struct Finding: Sendable, Codable, Equatable {
    /// What kind: `lost-write`, `half-committed`, `G1c` and so on; docs/chaos.md explains each.
    package let kind: String
    /// Whether it breaks what is promised.
    package let isViolation: Bool
    /// In words.
    package let message: String

    package init(kind: String, isViolation: Bool, message: String) {
        self.kind = kind
        self.isViolation = isViolation
        self.message = message
    }
}
