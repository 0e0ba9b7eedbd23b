/// The actions of one armed point, in order, and how far they are used up.
///
/// A step with a count is good for that many hits; one without is good for all that follow. After the last counted step: nothing.
struct FailpointScript: Hashable, Sendable {
    struct Step: Hashable, Sendable {
        /// Hits that are left, or nil for any number.
        var hits: Int?
        let action: FailpointAction
    }

    /// The steps that are left; none of them has zero hits.
    private(set) var steps: ArraySlice<Step>

    init(_ steps: [Step]) {
        self.steps = steps[...]
    }

    /// The action of the next hit.
    mutating func next() -> FailpointAction {
        guard let step = steps.first else { return .off }
        if let hits = step.hits {
            if hits == 1 { steps.removeFirst() } else { steps[steps.startIndex].hits = hits - 1 }
        }
        return step.action
    }
}
