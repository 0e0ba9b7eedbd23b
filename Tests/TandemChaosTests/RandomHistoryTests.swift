import Testing

@testable import TandemChaos

@Suite("What is found in random histories")
struct RandomHistoryTests {
    private static let seeds = 0..<1_000

    private func groups(_ report: CheckReport) -> [NaiveCycles.Group: Int] {
        let found = report.anomalies.compactMap { anomaly in
            anomaly.cycle.map { NaiveCycles.Group(kind: anomaly.kind, length: $0.length, members: $0.component) }
        }
        return Dictionary(found.map { ($0, 1) }, uniquingKeysWith: +)
    }

    @Test("kinds, numbers and lengths of cycles are those that trying every path gives")
    func naive() throws {
        var kinds: [Anomaly.Kind: Int] = [:]
        for seed in Self.seeds {
            let history = RandomHistory(seed: UInt64(seed))
            let report = try history.text.check()
            let expected = NaiveCycles(history).groups
            #expect(groups(report) == Dictionary(expected.map { ($0, 1) }, uniquingKeysWith: +), "seed \(seed)")
            #expect(report.anomalies.allSatisfy { $0.cycle?.isShortest ?? true }, "seed \(seed)")
            for group in expected { kinds[group.kind, default: 0] += 1 }
        }
        for kind in [Anomaly.Kind.g0, .g1c, .gSingle, .g2Item] { #expect(kinds[kind, default: 0] > 10, "\(kinds)") }
    }

    @Test("everything else that is wrong is what comparing each with each gives")
    func lists() throws {
        var kinds: [Anomaly.Kind: Int] = [:]
        for seed in Self.seeds {
            let history = RandomHistory(seed: UInt64(seed))
            let counts = try history.text.check().counts.filter { ![.g0, .g1c, .gSingle, .g2Item].contains($0.key) }
            #expect(counts == NaiveLists(history).counts, "seed \(seed)")
            kinds.merge(counts, uniquingKeysWith: +)
        }
        #expect(kinds.count == 9 && kinds.values.allSatisfy { $0 > 10 }, "\(kinds)")
    }

    @Test("without effort for walks the kinds are the same: sweeps find what is there")
    func sweeps() throws {
        for seed in Self.seeds {
            let history = RandomHistory(seed: UInt64(seed))
            var checker = ListAppendChecker(try HistoryText.read(history.text.text))
            checker.budget = CycleSearch.Budget(component: 0, total: 0)
            let report = checker.check()
            let expected = NaiveCycles(history).groups
            for kind in [Anomaly.Kind.g0, .g1c, .gSingle, .g2Item] {
                #expect(report.counts[kind, default: 0] == expected.count { $0.kind == kind }, "seed \(seed), \(kind)")
            }
        }
    }

    @Test("without any effort the strict kinds are the same, and what may be missing is told")
    func cutOff() throws {
        for seed in Self.seeds {
            let history = RandomHistory(seed: UInt64(seed))
            var checker = ListAppendChecker(try HistoryText.read(history.text.text))
            checker.budget = CycleSearch.Budget(component: 0, total: 0, sweeps: 0)
            let report = checker.check()
            let expected = NaiveCycles(history).groups
            for kind in [Anomaly.Kind.g0, .g1c] { #expect(report.counts[kind, default: 0] == expected.count { $0.kind == kind }, "seed \(seed), \(kind)") }
            for anomaly in report.anomalies where anomaly.kind == .g2Item { #expect(anomaly.message.contains("cut off"), "seed \(seed)") }
            let weak = report.counts[.gSingle, default: 0] + report.counts[.g2Item, default: 0]
            #expect(weak == expected.count { $0.kind == .gSingle || $0.kind == .g2Item }, "seed \(seed)")
        }
    }
}
