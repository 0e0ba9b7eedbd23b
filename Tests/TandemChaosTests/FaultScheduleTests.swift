import Testing

@testable import TandemChaos

@Suite("The schedule of faults")
struct FaultScheduleTests {
    private func schedule(_ seed: UInt64, seconds: Int = 30, kinds: [FaultKind] = FaultKind.allCases) -> FaultSchedule {
        FaultSchedule(seed: seed, seconds: seconds, nodes: 3, coordinators: 3, kinds: kinds)
    }

    @Test("the same seed gives the same faults, another one others")
    func isAFunctionOfTheSeed() {
        #expect(schedule(42) == schedule(42))
        #expect(schedule(42) != schedule(43))
    }

    @Test("every kind that was asked for happens, also in a short run")
    func everyKindHappens() {
        for seed in UInt64(1)...200 {
            for seconds in [12, 30, 120] {
                let kinds = Set(schedule(seed, seconds: seconds).faults.map(\.kind))
                #expect(kinds.count == FaultKind.allCases.count, "seed \(seed), \(seconds) s: \(Set(FaultKind.allCases).subtracting(kinds))")
            }
            #expect(Set(schedule(seed, seconds: 10, kinds: [.kill, .coordinator]).faults.map(\.kind)) == [.kill, .coordinator])
        }
    }

    @Test("no target is hit again before it is healed, and one node of three always answers")
    func targetsAreLeftAlone() {
        for seed in UInt64(1)...200 {
            let faults = schedule(seed, seconds: 120).faults
            for (index, fault) in faults.enumerated() {
                let overlapping = faults[..<index].filter { $0.start + $0.duration > fault.start && $0.kind.isOfNode }
                #expect(!overlapping.contains { fault.kind.isOfNode && $0.target == fault.target }, "seed \(seed): \(fault)")
                #expect(overlapping.count < 2, "seed \(seed): \(fault)")
            }
        }
    }

    @Test("options that make no sense are refused")
    func optionsAreChecked() {
        var options = ChaosOptions(seed: 1)
        options.nodes = 1
        #expect(throws: (any Error).self) { try options.check() }
        options = ChaosOptions(seed: 1)
        options.seconds = 0
        #expect(throws: (any Error).self) { try options.check() }
    }
}
