/// Counts what is found and describes the first of each kind.
struct Findings {
    /// What an anomaly is about, before it is put into names.
    struct Draft {
        var message: String
        var transactions: [Int] = []
        var keys: [Int] = []
        var values: [Int64] = []
        var cycle: Anomaly.Cycle?
    }

    /// More of a kind would tell nobody more.
    static let mostOfAKind = 10

    private let narrator: Narrator
    private let level: ListAppendChecker.Level
    private(set) var counts: [Anomaly.Kind: Int] = [:]
    private var described: [Anomaly] = []

    init(_ narrator: Narrator, level: ListAppendChecker.Level) {
        self.narrator = narrator
        self.level = level
    }

    /// In the order of kinds.
    var anomalies: [Anomaly] { Anomaly.Kind.allCases.flatMap { kind in described.filter { $0.kind == kind } } }

    var violations: Int { counts.reduce(0) { $0 + (level.forbids($1.key) ? $1.value : 0) } }

    /// Whether another one of this kind would be described.
    func describes(_ kind: Anomaly.Kind) -> Bool { counts[kind, default: 0] < Self.mostOfAKind }

    /// - Parameters:
    ///   - kind: what was found.
    ///   - draft: describes it; called only if it is to be described.
    mutating func add(_ kind: Anomaly.Kind, _ draft: (Narrator) -> Draft) {
        if describes(kind) { described.append(narrator.anomaly(kind, isViolation: level.forbids(kind), draft(narrator))) }
        counts[kind, default: 0] += 1
    }
}
