import Testing

@testable import TandemCore

@Suite("Recovery's decisions")
struct RecoveryMachineTests {
    let member = Machines.nodes[1]
    let point = Machines.nodes[0]

    private func machine(isPastGrace: Bool = true) -> RecoveryMachine {
        RecoveryMachine(gid: member, commitPoint: point, isPastGrace: isPastGrace)
    }

    @Test("past the grace time the register is asked at once")
    func asks() {
        var machine = machine()
        #expect(machine.on(.begin) == [.askRegister(point)])
        #expect(machine.on(.begin) == [])
    }

    @Test(
        "within the grace time only a row is a reason to ask",
        arguments: [
            (Row.work, nil), (.tombstone, nil), (.absent, .tooYoung), (.forgotten, .tooYoung), (.unreachable, .undecided),
        ] as [(Row, RecoveryMachine.Settlement?)])
    func peeks(_ row: Row, _ settlement: RecoveryMachine.Settlement?) {
        var machine = machine(isPastGrace: false)
        #expect(machine.on(.begin) == [.peek(point)])
        #expect(machine.on(.peeked(row)) == [settlement.map { .settle($0) } ?? .askRegister(point)])
    }

    @Test(
        "the verdict decides, and nothing else does",
        arguments: [
            (Verdict.committed, RecoveryMachine.Action.commitPrepared), (.aborted, .rollbackPrepared), (.undecided, .settle(.undecided)),
            (.forgotten, .settle(.held)),
        ])
    func judges(_ verdict: Verdict, _ action: RecoveryMachine.Action) {
        var machine = machine()
        _ = machine.on(.begin)
        #expect(machine.on(.row(.work)) == [])
        #expect(machine.on(.peeked(.tombstone)) == [])
        #expect(machine.on(.finished(.done)) == [])
        #expect(machine.on(.verdict(verdict)) == [action])
        #expect(machine.on(.verdict(.committed)) == [])
    }

    @Test(
        "how the finish ended is how the gid is settled",
        arguments: [
            (Verdict.committed, Finish.done, RecoveryMachine.Settlement.committed), (.aborted, .done, .rolledBack),
            (.committed, .busy, .busy), (.aborted, .busy, .busy), (.committed, .unknown, .unreachable), (.aborted, .unknown, .unreachable),
        ])
    func finishes(_ verdict: Verdict, _ finish: Finish, _ settlement: RecoveryMachine.Settlement) {
        var machine = machine()
        _ = machine.on(.begin)
        _ = machine.on(.verdict(verdict))
        #expect(machine.on(.finished(finish)) == [.settle(settlement)])
        #expect(machine.on(.finished(.done)) == [])
    }

    @Test(
        "a gid that is gone is judged by the row of its own node",
        arguments: [
            (Verdict.committed, Row.work, RecoveryMachine.Settlement.settledElsewhere), (.committed, .absent, .lost),
            (.committed, .tombstone, .mixed), (.committed, .forgotten, .held), (.committed, .unreachable, .unreachable),
            (.aborted, .work, .mixed), (.aborted, .absent, .settledElsewhere), (.aborted, .tombstone, .settledElsewhere),
            (.aborted, .forgotten, .settledElsewhere), (.aborted, .unreachable, .unreachable),
        ])
    func missing(_ verdict: Verdict, _ row: Row, _ settlement: RecoveryMachine.Settlement) {
        var machine = machine()
        _ = machine.on(.begin)
        _ = machine.on(.verdict(verdict))
        #expect(machine.on(.finished(.missing)) == [.readRow(member)])
        #expect(machine.on(.row(row)) == [.settle(settlement)])
    }
}
