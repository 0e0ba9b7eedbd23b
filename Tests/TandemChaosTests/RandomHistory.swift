@testable import TandemChaos

/// A small history with all that can be wrong in it, and the same numbers for the same seed.
struct RandomHistory {
    private(set) var transactions: [HistoryText.Transaction] = []
    private(set) var finals: [Int: [Int]] = [:]
    private var state: UInt64

    init(seed: UInt64) {
        state = (seed &+ 1) &* 0x9E37_79B9_7F4A_7C15 | 1
        for _ in 0..<8 { _ = random(2) }
        make()
    }

    var text: HistoryText { HistoryText(transactions, finals: finals) }

    private mutating func random(_ bound: Int) -> Int {
        state ^= state >> 12
        state ^= state << 25
        state ^= state >> 27
        return Int((state &* 0x2545_F491_4F6C_DD1D) >> 33) % bound
    }

    private mutating func make() {
        let count = 3 + random(7), keys = 1 + random(random(2) == 0 ? 4 : 2 * count)
        // How disorderly it is: the places at which appends land, and how old what is read may be.
        let disorder = [0, 0, 0, 1, 2][random(5)], age = random(3), hasSnapshots = random(3) > 0
        // How long the lists were before each transaction.
        var states: [[Int]] = []
        var lists = [[Int]](repeating: [], count: keys)
        // Each read with the length that it sees.
        var drafts: [(completion: History.Completion, operations: [(operation: HistoryText.Operation, length: Int)])] = []
        for number in 0..<count {
            let completion: History.Completion = [.ok, .ok, .ok, .ok, .ok, .info, .info, .fail][random(8)]
            let isVisible = completion == .ok || random(completion == .info ? 2 : 8) == 0
            states.append(lists.map(\.count))
            let snapshot = states[max(0, number - random(4))]
            var operations: [(HistoryText.Operation, Int)] = [], own: Set<Int> = []
            for place in 0...random(4) {
                let key = random(keys), value = number * 10 + place, length = lists[key].count
                if random(2) == 0 {
                    operations.append((.append(key, value), 0))
                    own.insert(key)
                    guard isVisible, random(20) > 0 else { continue }
                    lists[key].insert(value, at: max(0, length - random(disorder + 1)))
                } else {
                    let isOld = !own.contains(key) || random(6) == 0
                    operations.append((.read(key, []), !isOld ? length : hasSnapshots ? snapshot[key] : length + 1 - random(age + 2)))
                }
            }
            drafts.append((completion, operations))
        }
        if random(4) == 0 { damage(&lists) }
        transactions = drafts.map { draft in
            let operations = draft.operations.map { operation, length -> HistoryText.Operation in
                guard case .read(let key, _) = operation else { return operation }
                let list = Array(lists[key].prefix(max(0, length)))
                return .read(key, random(12) == 0 ? list.filter { _ in random(3) > 0 } : list)
            }
            return HistoryText.Transaction(completion: draft.completion, operations: operations)
        }
        for key in 0..<keys where random(5) > 0 { finals[key] = lists[key] }
    }

    private mutating func damage(_ lists: inout [[Int]]) {
        let key = random(lists.count)
        guard !lists[key].isEmpty else { return }
        switch random(3) {
        case 0: lists[key].append(lists[key][random(lists[key].count)])
        case 1: lists[key].insert(999, at: random(lists[key].count))
        default: lists[key].remove(at: random(lists[key].count))
        }
    }
}
