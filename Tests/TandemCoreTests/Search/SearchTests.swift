import Testing

@testable import TandemCore

@Suite("Every interleaving of one commit")
struct SearchTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let configuration: Configuration
        /// A search that reaches fewer states is broken itself.
        let floor: Int
        var testDescription: String { configuration.name }
    }

    static let cases = [
        Case(configuration: .base, floor: 25_000),
        Case(configuration: .young, floor: 8_000),
        Case(configuration: .last, floor: 20_000),
        Case(configuration: .forget, floor: 60_000),
        Case(configuration: .forgetLast, floor: 60_000),
        Case(configuration: .crash, floor: 40_000),
        Case(configuration: .synchronous, floor: 75_000),
        Case(configuration: .userEnded, floor: 10_000),
        Case(configuration: .memberFailover, floor: 35_000),
        Case(configuration: .forgottenFailover, floor: 50_000),
        Case(configuration: .pointFailover, floor: 50_000),
    ]

    @Test("no interleaving splits a transaction, lies to the caller, alarms falsely or gets stuck", arguments: cases)
    func holds(_ one: Case) async {
        let report = await Search(configuration: one.configuration).run()
        print("search \(one.configuration): \(report.states) states, held \(report.held), reported \(report.reported)")
        let violation = report.violation?.rawValue ?? "nothing"
        #expect(report.violation == nil, "\(one.configuration) violates \(violation):\n\(report.trace.joined(separator: "\n"))")
        #expect(report.states > one.floor)
        #expect(report.committed > 0, "some transaction commits everywhere")
        #expect(report.rolledBack > 0, "some transaction is rolled back everywhere")
        #expect((report.held > 0) == one.configuration.forgets, "a branch is held only where evidence was removed")
        #expect((report.reported > 0) == one.configuration.hasFailover, "an alarm means that a node lost something")
    }
}

@Suite("Every rule is needed")
struct BreakTests {
    struct Case: Sendable, CustomTestStringConvertible {
        let configuration: Configuration
        let rule: Break
        let property: Search.Property
        var testDescription: String { "\(rule.rawValue) in \(configuration.name)" }

        init(_ configuration: Configuration, _ rule: Break, violates property: Search.Property) {
            self.configuration = configuration
            self.rule = rule
            self.property = property
        }
    }

    static let cases = [
        Case(.base, .noTombstone, violates: .atomic),
        Case(.last, .noTombstone, violates: .atomic),
        Case(.base, .earlyCommit, violates: .atomic),
        Case(.base, .busyMeansNo, violates: .atomic),
        Case(.base, .tagIgnored, violates: .atomic),
        Case(.forget, .forgetEarly, violates: .atomic),
        Case(.forgetLast, .noHorizon, violates: .atomic),
        Case(.forgottenFailover, .noHorizon, violates: .atomic),
        Case(.forgetLast, .fenceHidesRow, violates: .live),
        Case(.crash, .noBarrier, violates: .atomic),
        Case(.synchronous, .noBarrier, violates: .atomic),
        Case(.base, .verdictBeforeCommit, violates: .atomic),
        Case(.last, .resend, violates: .atomic),
        Case(.base, .earlyRow, violates: .atomic),
        Case(.userEnded, .noProof, violates: .atomic),
        Case(.base, .unknownMeansNo, violates: .atomic),
        Case(.base, .undecidedMeansNo, violates: .honest),
        Case(.forgottenFailover, .noAudit, violates: .reported),
        Case(.forgottenFailover, .oneSidedAudit, violates: .reported),
        Case(.pointFailover, .noAudit, violates: .reported),
    ]

    @Test("a transaction goes wrong once the rule is broken", arguments: cases)
    func isFound(_ one: Case) async {
        let broken = one.configuration.breaking(one.rule)
        let report = await Search(configuration: broken, properties: [one.property]).run()
        let found = report.violation?.rawValue ?? "nothing"
        print("search \(broken): violates \(found) after \(report.states) states, \(report.trace.count - 1) steps")
        #expect(report.violation == one.property)
        #expect(report.trace.count > 3, "the way there is shown")
    }

    @Test("every rule that can be broken is broken somewhere")
    func isComplete() {
        #expect(Set(Self.cases.map(\.rule)) == Set(Break.allCases))
    }
}
