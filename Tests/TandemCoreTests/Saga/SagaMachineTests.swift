import Testing

@testable import TandemCore

@Suite("The course of a saga")
struct SagaMachineTests {
    private let line = SagaPlan([.init(), .init(needs: [0]), .init(needs: [1])])

    private func actions(_ machine: inout SagaMachine, _ events: SagaMachine.Event...) -> [SagaMachine.Action] {
        events.reduce([]) { machine.on($1) }
    }

    @Test("steps run one after the other, and then it is completed")
    func forward() {
        var machine = SagaMachine(line)
        #expect(machine.on(.begin) == [.run(0)])
        #expect(machine.on(.done(0)) == [.run(1)])
        #expect(machine.on(.done(1)) == [.run(2)])
        #expect(machine.on(.done(2)) == [.finish(.completed)])
    }

    @Test("after a failure the failed step is barred, and those that are done are undone, the last first")
    func backward() {
        var machine = SagaMachine(line)
        #expect(actions(&machine, .begin, .done(0), .done(1)) == [.run(2)])
        #expect(machine.on(.failed(2)) == [.turnBack(done: [0, 1])])
        #expect(machine.on(.turnedBack) == [.bar(2)])
        #expect(machine.on(.barred(2)) == [.undo(1)])
        #expect(machine.on(.undone(1)) == [.undo(0)])
        #expect(machine.on(.undone(0)) == [.finish(.compensated)])
    }

    @Test("a step that is found done is undone, and what needs it is barred first")
    func late() {
        var machine = SagaMachine(line)
        #expect(actions(&machine, .begin, .failed(0), .turnedBack) == [.bar(0)])
        #expect(machine.on(.foundDone(0)) == [.bar(1)])
        #expect(machine.on(.barred(1)) == [.undo(0)])
    }

    @Test("steps without needs run beside each other; when one fails, the others end first and are not tried again")
    func parallel() {
        var machine = SagaMachine(SagaPlan([.init(), .init(), .init(needs: [0, 1])]))
        #expect(machine.on(.begin) == [.run(0), .run(1)])
        #expect(machine.on(.failed(0)) == [.halt(1)])
        #expect(machine.on(.done(1)) == [.turnBack(done: [1])])
        #expect(machine.on(.turnedBack) == [.bar(0)])
        #expect(machine.on(.barred(0)) == [.undo(1)])
    }

    @Test("before it turns back the pivot is barred; behind it there is no way back")
    func pivot() {
        let plan = SagaPlan([.init(), .init(needs: [0], hasUndo: false, isPivot: true), .init(needs: [1], hasUndo: false)])
        var machine = SagaMachine(plan)
        #expect(actions(&machine, .begin, .failed(0)) == [.bar(1)])
        var found = machine
        #expect(machine.on(.barred(1)) == [.turnBack(done: [])])
        #expect(found.on(.foundDone(1)) == [.run(2)])
        #expect(found.on(.cancel) == [])
        #expect(found.on(.failed(2)) == [.park(.forward)])
    }

    @Test("one that was cancelled while its last step ran is completed if that is done")
    func tooLate() {
        var machine = SagaMachine(SagaPlan([.init()]))
        #expect(actions(&machine, .begin, .cancel) == [.halt(0)])
        #expect(machine.on(.done(0)) == [.finish(.completed)])
    }

    @Test("a step that cannot be undone stops those before it, or not, as the definition says")
    func stuck() {
        var halting = SagaMachine(line, done: [0, 1], isBack: true)
        #expect(actions(&halting, .begin, .barred(2)) == [.undo(1)])
        #expect(halting.on(.undoFailed(1)) == [.park(.compensation)])
        var continuing = SagaMachine(line, done: [0, 1], isBack: true, continuesPastFailedUndo: true)
        #expect(actions(&continuing, .begin, .barred(2)) == [.undo(1)])
        #expect(continuing.on(.undoFailed(1)) == [.undo(0)])
        #expect(continuing.on(.undone(0)) == [.park(.compensation)])
    }

    @Test("whoever takes over goes on with what is known, and asks the records for the rest")
    func resumed() {
        var machine = SagaMachine(line, done: [0])
        #expect(machine.on(.begin) == [.run(1)])
        var back = SagaMachine(line, done: [0, 1], undone: [1], isBack: true)
        #expect(back.on(.begin) == [.bar(2)])
        #expect(back.on(.barred(2)) == [.undo(0)])
    }
}
