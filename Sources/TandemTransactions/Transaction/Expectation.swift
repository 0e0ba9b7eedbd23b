import TandemCore

/// How many rows a statement was to touch.
enum Expectation {
    static func violated(_ count: Int, _ expected: ClosedRange<Int>, _ node: NodeName) -> TandemError {
        let wanted = expected.lowerBound == expected.upperBound ? "\(expected.lowerBound)" : "\(expected.lowerBound) to \(expected.upperBound)"
        return TandemError(
            .expectationViolated, "the statement touched \(count) rows where \(wanted) were expected", effect: .rolledBack, node: node,
            nextStep: "look whether the rows exist and the condition still holds", phase: "statement")
    }
}
