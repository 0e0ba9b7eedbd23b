/// The steps of a saga and their order, without what they do.
///
/// Steps are known by their place. A saga goes forward through them as their `needs` allow, and on failure back through those that are done.
package struct SagaPlan: Hashable, Sendable {
    /// One step.
    package struct Step: Hashable, Sendable {
        /// The steps that must be done before this one begins.
        package var needs: [Int]
        /// Whether there is something that undoes it.
        package var hasUndo: Bool
        /// Whether the saga only goes forward once it is done.
        package var isPivot: Bool

        package init(needs: [Int] = [], hasUndo: Bool = true, isPivot: Bool = false) {
            self.needs = needs
            self.hasUndo = hasUndo
            self.isPivot = isPivot
        }
    }

    /// The steps, in the order of the definition.
    package let steps: [Step]
    /// For each step those that need it.
    package let dependents: [[Int]]
    /// The step after which the saga only goes forward, if there is one.
    package let pivot: Int?

    /// A plan; what it breaks is found by ``defects()``.
    package init(_ steps: [Step]) {
        self.steps = steps
        var dependents = [[Int]](repeating: [], count: steps.count)
        for (index, step) in steps.enumerated() {
            for need in step.needs where steps.indices.contains(need) { dependents[need].append(index) }
        }
        self.dependents = dependents
        pivot = steps.firstIndex(where: \.isPivot)
    }

    /// Steps that come before a step, all the way back.
    package func ancestors(of step: Int) -> Set<Int> { reach(from: step) { steps[$0].needs } }

    /// Steps that come after a step, all the way on.
    package func descendants(of step: Int) -> Set<Int> { reach(from: step) { dependents[$0] } }

    private func reach(from step: Int, _ next: (Int) -> [Int]) -> Set<Int> {
        var found: Set<Int> = [], open = next(step)
        while let step = open.popLast() {
            if found.insert(step).inserted { open += next(step) }
        }
        return found
    }
}
