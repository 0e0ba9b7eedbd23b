import Testing

@testable import TandemCore

@Suite("The coordinator's decisions")
struct CommitMachineTests {
    let one = Machines.nodes[0]
    let two = Machines.nodes[1]
    let three = Machines.nodes[2]

    private func machine(readers: [NodeID] = [], serializable: [NodeID] = [], guards: [NodeID] = []) -> CommitMachine {
        CommitMachine(writers: [one, two], commitPoint: one, readers: readers, serializableReaders: serializable, guards: guards)
    }

    @Test("one writer needs only the decision")
    func single() {
        var machine = CommitMachine(writers: [one], commitPoint: one)
        #expect(machine.on(.begin) == [.decide(one)])
        #expect(machine.decisionWasSent)
        #expect(machine.on(.decision(.committed)) == [.conclude(.committed), .conclude(.applied)])
        #expect(machine.outcome == .committed)
        #expect(machine.isSettled)
    }

    @Test("one writer without a row is in doubt at once, and never asks a register that knows nothing")
    func unrecorded() {
        var machine = CommitMachine(writers: [one], commitPoint: one, isRecorded: false)
        _ = machine.on(.begin)
        #expect(machine.on(.decision(.unknown)) == [.conclude(.inDoubt)])
        #expect(machine.outcome == .inDoubt)
        var impatient = CommitMachine(writers: [one], commitPoint: one, isRecorded: false)
        _ = impatient.on(.begin)
        #expect(impatient.on(.giveUp) == [.conclude(.inDoubt)])
        #expect(impatient.on(.decision(.committed)) == [.conclude(.committed), .conclude(.applied)])
    }

    @Test("the decision waits for the last vote, and the acknowledgement for the decision")
    func commits() {
        var machine = CommitMachine(writers: [one, two, three], commitPoint: two)
        #expect(machine.on(.begin) == [.prepare(one), .prepare(three)])
        #expect(machine.on(.begin) == [])
        #expect(machine.on(.vote(three, .yes)) == [])
        #expect(machine.on(.vote(three, .yes)) == [])
        #expect(!machine.decisionWasSent)
        #expect(machine.on(.decision(.committed)) == [])
        #expect(machine.on(.vote(one, .yes)) == [.decide(two)])
        #expect(machine.outcome == nil)
        #expect(machine.on(.decision(.committed)) == [.conclude(.committed), .commitPrepared(one), .commitPrepared(three)])
        #expect(machine.on(.decision(.committed)) == [])
        #expect(machine.pending == [one, three])
        #expect(machine.on(.finished(one, .done)) == [])
        #expect(machine.pending == [three])
        #expect(machine.on(.finished(three, .done)) == [.conclude(.applied)])
        #expect(machine.pending == [] && machine.isSettled)
    }

    @Test("a no rolls back what is open and what is prepared, and waits for the votes that are out")
    func aborts() {
        let four = NodeID(rawValue: 4) ?? one
        var machine = CommitMachine(writers: [one, two, three, four], commitPoint: one)
        _ = machine.on(.begin)
        _ = machine.on(.vote(two, .yes))
        #expect(machine.on(.vote(three, .no)) == [.rollback(three), .rollback(one), .rollbackPrepared(two), .conclude(.rolledBack)])
        #expect(machine.outcome == .rolledBack)
        #expect(!machine.isSettled)
        #expect(machine.on(.vote(four, .yes)) == [.rollbackPrepared(four)])
        #expect(machine.on(.finished(two, .done)) == [])
        #expect(machine.on(.finished(four, .missing)) == [.readRow(four)])
        #expect(machine.on(.row(four, .absent)) == [])
        #expect(machine.isSettled)
        #expect(machine.on(.decision(.committed)) == [])
    }

    @Test("a branch whose vote is unknown is left to recovery")
    func unknownVote() {
        var machine = machine()
        _ = machine.on(.begin)
        #expect(machine.on(.vote(two, .unknown)) == [.rollback(one), .conclude(.rolledBack)])
        #expect(machine.on(.vote(two, .yes)) == [])
        #expect(machine.isSettled)
    }

    @Test("giving up before the decision rolls back, also before the beginning")
    func givesUpEarly() {
        var idle = machine(readers: [three])
        #expect(idle.on(.giveUp) == [.rollback(one), .rollback(two), .endReader(three), .conclude(.rolledBack)])
        #expect(idle.on(.begin) == [])
        var voting = machine()
        _ = voting.on(.begin)
        #expect(voting.on(.giveUp) == [.rollback(one), .conclude(.rolledBack)])
        #expect(voting.on(.vote(two, .yes)) == [.rollbackPrepared(two)])
    }

    @Test("an unknown decision asks the register until it tells or the caller gives up")
    func asks() {
        var machine = machine()
        _ = machine.on(.begin)
        _ = machine.on(.vote(two, .yes))
        #expect(machine.on(.decision(.unknown)) == [.askRegister(one)])
        #expect(machine.on(.verdict(.undecided)) == [.askRegister(one)])
        #expect(machine.outcome == nil)
        var committed = machine
        #expect(committed.on(.verdict(.committed)) == [.conclude(.committed), .commitPrepared(two)])
        var aborted = machine
        #expect(aborted.on(.verdict(.aborted)) == [.rollbackPrepared(two), .conclude(.rolledBack)])
        var held = machine
        #expect(held.on(.verdict(.forgotten)) == [.conclude(.inDoubt)])
        #expect(held.outcome == .inDoubt && held.isSettled)
        #expect(machine.on(.giveUp) == [.conclude(.inDoubt)])
        #expect(machine.on(.giveUp) == [])
        #expect(machine.on(.verdict(.undecided)) == [])
        #expect(machine.on(.verdict(.committed)) == [.conclude(.committed), .commitPrepared(two)])
        #expect(machine.outcome == .committed)
    }

    @Test("giving up while the decision is out asks the register, and never sends it again")
    func givesUpLate() {
        var machine = machine()
        _ = machine.on(.begin)
        _ = machine.on(.vote(two, .yes))
        #expect(machine.on(.giveUp) == [.askRegister(one)])
        #expect(machine.on(.decision(.refused)) == [.rollback(one), .rollbackPrepared(two), .conclude(.rolledBack)])
    }

    @Test("answers that contradict each other raise an alarm")
    func contradictions() {
        var machine = machine()
        _ = machine.on(.begin)
        _ = machine.on(.vote(two, .yes))
        _ = machine.on(.decision(.unknown))
        var aborted = machine
        _ = aborted.on(.verdict(.aborted))
        #expect(aborted.on(.decision(.committed)) == [.conclude(.mixed(one))])
        #expect(aborted.on(.finished(two, .missing)) == [.readRow(two)])
        #expect(aborted.on(.row(two, .work)) == [.conclude(.mixed(two))])
        _ = machine.on(.verdict(.committed))
        #expect(machine.on(.decision(.refused)) == [.conclude(.mixed(one))])
    }

    @Test(
        "after a commit a missing gid is judged by its row",
        arguments: [
            (Row.work, [CommitMachine.Action.conclude(.applied)], 0),
            (Row.absent, [.conclude(.lost(Machines.nodes[1])), .conclude(.applied)], 0),
            (Row.tombstone, [.conclude(.mixed(Machines.nodes[1])), .conclude(.applied)], 0),
            (Row.forgotten, [], 1), (Row.unreachable, [], 1),
        ])
    func missing(_ row: Row, _ actions: [CommitMachine.Action], _ pending: Int) {
        var machine = machine()
        _ = machine.on(.begin)
        _ = machine.on(.vote(two, .yes))
        _ = machine.on(.decision(.committed))
        #expect(machine.on(.finished(two, .missing)) == [.readRow(two)])
        #expect(machine.on(.row(two, row)) == actions)
        #expect(machine.pending.count == pending)
        #expect(machine.isSettled)
        #expect(machine.on(.retry(two)) == (row == .unreachable ? [.commitPrepared(two)] : []))
    }

    @Test("a busy or silent branch stays pending until a retry", arguments: [Finish.busy, .unknown])
    func stalls(_ finish: Finish) {
        var machine = machine()
        _ = machine.on(.begin)
        _ = machine.on(.vote(two, .yes))
        _ = machine.on(.decision(.committed))
        #expect(machine.on(.retry(two)) == [])
        #expect(machine.on(.finished(two, finish)) == [])
        #expect(machine.pending == [two] && machine.isSettled)
        #expect(machine.on(.retry(two)) == [.commitPrepared(two)])
        #expect(machine.on(.finished(two, .done)) == [.conclude(.applied)])
    }

    @Test("readers end after the last COMMIT PREPARED has been answered")
    func readers() {
        var machine = machine(readers: [three])
        #expect(machine.on(.begin) == [.prepare(two)])
        _ = machine.on(.vote(two, .yes))
        #expect(machine.on(.decision(.committed)) == [.conclude(.committed), .commitPrepared(two)])
        var impatient = machine
        #expect(impatient.on(.giveUp) == [.endReader(three)])
        #expect(impatient.on(.finished(two, .done)) == [.conclude(.applied)])
        #expect(machine.on(.finished(two, .done)) == [.endReader(three), .conclude(.applied)])
    }

    @Test("a serializable reader commits before the decision, and its failure rolls back")
    func serializableReaders() {
        var machine = machine(serializable: [three])
        #expect(machine.on(.begin) == [.prepare(two), .commitReader(three)])
        #expect(machine.on(.vote(two, .yes)) == [])
        var failed = machine
        #expect(machine.on(.readerCommitted(three, true)) == [.decide(one)])
        #expect(failed.on(.readerCommitted(three, false)) == [.rollback(one), .rollbackPrepared(two), .conclude(.rolledBack)])
        var alone = CommitMachine(writers: [one], commitPoint: one, serializableReaders: [three])
        #expect(alone.on(.begin) == [.commitReader(three)])
        #expect(alone.on(.readerCommitted(three, true)) == [.decide(one)])
    }

    @Test("a guard is finished after the others, or when the caller waits no longer")
    func guards() {
        var machine = CommitMachine(writers: [one, two, three], commitPoint: one, guards: [three])
        _ = machine.on(.begin)
        _ = machine.on(.vote(two, .yes))
        _ = machine.on(.vote(three, .yes))
        #expect(machine.on(.decision(.committed)) == [.conclude(.committed), .commitPrepared(two)])
        var impatient = machine
        #expect(impatient.on(.giveUp) == [.commitPrepared(three)])
        #expect(machine.on(.finished(two, .done)) == [.commitPrepared(three)])
        #expect(machine.on(.finished(three, .done)) == [.conclude(.applied)])
        var onlyGuard = self.machine(guards: [two])
        _ = onlyGuard.on(.begin)
        _ = onlyGuard.on(.vote(two, .yes))
        #expect(onlyGuard.on(.decision(.committed)) == [.conclude(.committed), .commitPrepared(two)])
    }
}
