import Testing

@Suite("The house is tidy")
struct HouseTests {
    @Test("the package itself is what is looked at")
    func isRead() {
        #expect(House.real.paths.contains("Package.swift"))
        #expect(House.real.file("Tests/TidyTests/HouseTests.swift")?.imports.map(\.module) == ["Testing"])
        #expect(House.real.sources.count > 1)
    }

    @Test("rule", arguments: Rule.all)
    func isKept(rule: Rule) {
        let violations = rule.violations(.real)
        #expect(violations.isEmpty, "\(rule.claim):\n\(violations.joined(separator: "\n"))")
    }
}
