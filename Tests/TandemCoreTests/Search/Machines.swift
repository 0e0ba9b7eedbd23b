@testable import TandemCore

/// The real machines of the module, each distinct value once: a state of the search holds their numbers, and a step that was taken before
/// is looked up, not computed again.
final class Machines {
    struct CommitStep {
        let machine: UInt16
        let actions: [CommitMachine.Action]
    }
    struct RecoveryStep {
        let machine: UInt8
        let actions: [RecoveryMachine.Action]
    }
    private struct CommitKey: Hashable {
        let machine: UInt16
        let event: CommitMachine.Event
    }
    private struct RecoveryKey: Hashable {
        let machine: UInt8
        let event: RecoveryMachine.Event
    }

    static let nodes = [1, 2, 3].compactMap { NodeID(rawValue: $0) }

    // Number 0 stands for no machine.
    private var commitMachines: [CommitMachine?] = [nil]
    private var commitNumbers: [CommitMachine: UInt16] = [:]
    private var commitSteps: [CommitKey: CommitStep] = [:]
    private var recoveryMachines: [RecoveryMachine?] = [nil]
    private var recoveryNumbers: [RecoveryMachine: UInt8] = [:]
    private var recoverySteps: [RecoveryKey: RecoveryStep] = [:]
    private var targets: [UInt8: Int] = [:]

    func number(of machine: CommitMachine) -> UInt16 {
        if let number = commitNumbers[machine] { return number }
        let number = UInt16(commitMachines.count)
        commitMachines.append(machine)
        commitNumbers[machine] = number
        return number
    }

    func number(of machine: RecoveryMachine) -> UInt8 {
        if let number = recoveryNumbers[machine] { return number }
        let number = UInt8(recoveryMachines.count)
        recoveryMachines.append(machine)
        recoveryNumbers[machine] = number
        return number
    }

    func step(_ machine: UInt16, _ event: CommitMachine.Event) -> CommitStep {
        let key = CommitKey(machine: machine, event: event)
        if let step = commitSteps[key] { return step }
        guard var next = commitMachines[Int(machine)] else { return CommitStep(machine: 0, actions: []) }
        let actions = next.on(event)
        let step = CommitStep(machine: number(of: next), actions: actions)
        commitSteps[key] = step
        return step
    }

    func step(_ machine: UInt8, _ event: RecoveryMachine.Event) -> RecoveryStep {
        let key = RecoveryKey(machine: machine, event: event)
        if let step = recoverySteps[key] { return step }
        guard var next = recoveryMachines[Int(machine)] else { return RecoveryStep(machine: 0, actions: []) }
        let actions = next.on(event)
        let step = RecoveryStep(machine: number(of: next), actions: actions)
        targets[step.machine] = targets[machine]
        recoverySteps[key] = step
        return step
    }

    /// The number of a new machine for a member's gid.
    func recovery(of member: Int, isPastGrace: Bool) -> UInt8 {
        let machine = number(of: RecoveryMachine(gid: Self.nodes[member], commitPoint: Self.nodes[0], isPastGrace: isPastGrace))
        targets[machine] = member
        return machine
    }

    /// The member whose gid a machine is about.
    func target(of machine: UInt8) -> Int { targets[machine] ?? 0 }

    var commitCount: Int { commitMachines.count - 1 }
    var recoveryCount: Int { recoveryMachines.count - 1 }
}
