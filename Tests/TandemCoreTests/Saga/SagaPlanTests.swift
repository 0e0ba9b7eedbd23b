import Testing

@testable import TandemCore

@Suite("Plans of sagas")
struct SagaPlanTests {
    private func step(_ needs: Int..., undo: Bool = true, pivot: Bool = false) -> SagaPlan.Step { .init(needs: needs, hasUndo: undo, isPivot: pivot) }

    private func defects(_ steps: [SagaPlan.Step], saysUndo: [Bool]? = nil) -> [SagaPlan.Defect] {
        SagaPlan(steps).defects(saysUndo: saysUndo ?? steps.map { $0.hasUndo })
    }

    @Test("what keeps the rules has no defects")
    func sound() {
        #expect(defects([step(), step(0), step(0), step(1, 2, undo: false, pivot: true), step(3, undo: false)]) == [])
        #expect(defects([step(), step(undo: false)], saysUndo: [true, true]) == [])
    }

    @Test("a step says what undoes it, unless it lies at the pivot or behind it")
    func undo() {
        #expect(defects([step(), step(0, undo: false)]) == [.missingUndo(1)])
        #expect(defects([step(), step(0, undo: true, pivot: true), step(1, undo: true)]) == [.needlessUndo(1), .needlessUndo(2)])
    }

    @Test("each step lies before the pivot or behind it, and there is one")
    func pivot() {
        #expect(defects([step(), step(0, undo: false, pivot: true), step(0)]) == [.besidePivot(2)])
        #expect(defects([step(undo: false, pivot: true), step(0, undo: false, pivot: true)]) == [.secondPivot(1)])
    }

    @Test("a circle is found, with its steps")
    func cycle() {
        #expect(defects([step(), step(0, 3), step(1), step(2)]) == [.cycle([1, 3, 2])])
        #expect(defects([step(0)]) == [.cycle([0])])
        #expect(defects([]) == [.empty])
    }

    @Test("what comes before and after a step, all the way")
    func reach() {
        let plan = SagaPlan([step(), step(0), step(1), step()])
        #expect(plan.ancestors(of: 2) == [0, 1])
        #expect(plan.descendants(of: 0) == [1, 2])
        #expect(plan.ancestors(of: 3) == [])
    }
}
