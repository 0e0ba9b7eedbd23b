import Testing

@Suite("The house is tidy")
struct HouseTests {
    @Test("the package itself is what is looked at")
    func isRead() async {
        let house = await House.real
        #expect(house.paths.contains("Package.swift"))
        #expect(house.file("Tests/TidyTests/HouseTests.swift")?.imports.map(\.module) == ["Testing"])
        #expect(house.sources.count > 1)
    }

    @Test("rule", arguments: Rule.all)
    func isKept(rule: Rule) async {
        let violations = rule.violations(await .real)
        #expect(violations.isEmpty, "\(rule.claim):\n\(violations.joined(separator: "\n"))")
    }
}
