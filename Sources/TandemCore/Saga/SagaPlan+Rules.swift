extension SagaPlan {
    /// A rule that a plan breaks.
    package enum Defect: Hashable, Sendable {
        /// There is no step.
        case empty
        /// Steps that need each other, in a circle.
        case cycle([Int])
        /// A second pivot.
        case secondPivot(Int)
        /// Neither before nor after the pivot: when the saga may no longer turn back it could not be known whether this one is done.
        case besidePivot(Int)
        /// Before the pivot, or in a saga without one, a step says how it is undone, or that nothing undoes it.
        case missingUndo(Int)
        /// After the pivot nothing is undone.
        case needlessUndo(Int)
    }

    /// The rules that the plan breaks, those of earlier steps first.
    ///
    /// - Parameter saysUndo: for each step whether its definition says what undoes it, be it nothing.
    /// - Returns: nothing where it breaks none.
    package func defects(saysUndo: [Bool]) -> [Defect] {
        guard !steps.isEmpty else { return [.empty] }
        if let cycle = cycle() { return [.cycle(cycle)] }
        let before = pivot.map { ancestors(of: $0) } ?? [], after = pivot.map { descendants(of: $0) } ?? []
        return steps.indices.flatMap { step -> [Defect] in
            if step == pivot { return steps[step].hasUndo ? [.needlessUndo(step)] : [] }
            if steps[step].isPivot { return [.secondPivot(step)] }
            if after.contains(step) { return steps[step].hasUndo ? [.needlessUndo(step)] : [] }
            var defects: [Defect] = saysUndo[step] ? [] : [.missingUndo(step)]
            if pivot != nil && !before.contains(step) { defects.append(.besidePivot(step)) }
            return defects
        }
    }

    /// Steps that need each other in a circle, the first of them last again left out; `nil` where there is none.
    private func cycle() -> [Int]? {
        enum Mark { case new, open, closed }
        var marks = [Mark](repeating: .new, count: steps.count)
        var path: [Int] = []
        func visit(_ step: Int) -> [Int]? {
            marks[step] = .open
            path.append(step)
            for need in steps[step].needs {
                if marks[need] == .open { return Array(path[(path.firstIndex(of: need) ?? 0)...]) }
                if marks[need] == .new, let found = visit(need) { return found }
            }
            marks[step] = .closed
            path.removeLast()
            return nil
        }
        for step in steps.indices where marks[step] == .new {
            if let found = visit(step) { return found }
        }
        return nil
    }
}
