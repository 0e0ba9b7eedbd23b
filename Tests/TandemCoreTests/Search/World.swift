@testable import TandemCore

/// One value for each of the three nodes; the commit point is number 0, the members are 1 and 2.
struct Triple<Value> {
    var zero: Value
    var one: Value
    var two: Value

    init(_ zero: Value, _ one: Value, _ two: Value) {
        self.zero = zero
        self.one = one
        self.two = two
    }

    init(all value: Value) { self.init(value, value, value) }

    subscript(node: Int) -> Value {
        get {
            switch node {
            case 0: zero
            case 1: one
            default: two
            }
        }
        set {
            switch node {
            case 0: zero = newValue
            case 1: one = newValue
            default: two = newValue
            }
        }
    }
}

/// A branch on its server.
enum BranchState: UInt8 {
    case none, open
    /// User SQL ended the transaction; what is open now is another one, and the work is gone.
    case ended
    case prepared
    /// Prepared, but it was not the branch's transaction: it holds a row and no work.
    case hollow
    case committed, aborted
    /// A failover took it back to a time before it was prepared.
    case lost

    var isFinal: Bool {
        switch self {
        case .none, .committed, .aborted, .lost: true
        case .open, .ended, .prepared, .hollow: false
        }
    }
    var isListed: Bool { self == .prepared || self == .hollow }
}

/// A committed, visible row of `tandem.branch`.
enum RowState: UInt8 { case absent, work, tombstone }

/// How far the node is with the horizon's passing of the transaction's id.
enum HorizonState: UInt8 {
    case below
    /// The horizon is raised: inserts are refused from now on.
    case raised
    /// Besides, every transaction that was open when it was raised has ended.
    case cleared
}

/// The message with row and PREPARE, and its answer.
enum PrepareWire: UInt8 { case none, requested, answeredYes, answeredNo }

/// The message with row and COMMIT, and its answer.
enum DecideWire: UInt8 {
    case none, requested
    /// The row is inserted and not committed: other inserts of its key wait.
    case executing
    case answeredCommitted, answeredRefused
}

/// COMMIT PREPARED or ROLLBACK PREPARED on its way; executing and answering are one step, the answer may be lost.
enum FinishWire: UInt8 { case none, commit, rollback }

/// The coordinator's question to the register, and its answer.
enum AskWire: UInt8 {
    case none, sent
    /// A tombstone is inserted and not committed: other inserts of its key wait.
    case holding
    /// A row was found that may not be durable; the own commit is on its way.
    case barrier
    case answeredCommitted, answeredAborted, answeredForgotten

    var isAnswer: Bool { self == .answeredCommitted || self == .answeredAborted || self == .answeredForgotten }
}

/// What a recoverer is about; a paused one just stays there.
enum RecoveryTask: UInt8 { case idle, peeking, asking, holding, barrier, committing, rollingBack, checking }

struct Recoverer: Equatable {
    var machine: UInt8 = 0
    var task = RecoveryTask.idle

    static let idle = Recoverer()
    var rank: Int { Int(task.rawValue) << 8 | Int(machine) }
}

/// What the coordinator's caller was told.
enum Told: UInt8 { case nothing, committed, rolledBack }

/// One state of everything: the protocol's machines (by number, see ``Machines``), the servers, and the messages on the wire.
///
/// Every field is one byte without padding between them (the first is two), so that a state is hashed and compared as plain bytes.
struct World {
    /// The number of the coordinator's machine, 0 when the coordinator is dead.
    var coordinator: UInt16
    var first = Recoverer.idle
    var second = Recoverer.idle
    var branch: Triple<BranchState>
    var row = Triple(all: RowState.absent)
    var horizon = Triple(all: HorizonState.below)
    var prepare = Triple(all: PrepareWire.none)
    var finish = Triple(all: FinishWire.none)
    var reads = Triple(all: false)
    var decide = DecideWire.none
    var ask = AskWire.none
    /// A ROLLBACK is on its way to the commit point's open branch.
    var rollsBackPoint = false
    /// The commit point's row is visible and would not survive the accident: unflushed, or not on the standby.
    var isRowVolatile = false
    /// A tombstone is inserted, nobody will commit it any more, and it has been acted upon (only in the break that does so).
    var limbo = false
    var told = Told.nothing
    /// A machine, or the clean-up pass, has raised an alarm.
    var isReported = false
    var accidentsLeft: UInt8

    var isCoordinatorAlive: Bool { coordinator != 0 }
    var isAnyListed: Bool { branch[1].isListed || branch[2].isListed }
    var isAnyCommitted: Bool { branch[0] == .committed || branch[1] == .committed || branch[2] == .committed }
    var isAnyAborted: Bool { branch[0] == .aborted || branch[1] == .aborted || branch[2] == .aborted }
    var isAnyLost: Bool { branch[0] == .lost || branch[1] == .lost || branch[2] == .lost }

    /// A member's 'W' whose commit point has none, or 'A': a lost decision (A15).
    var isDecisionMissing: Bool { row[0] != .work && (row[1] == .work || row[2] == .work) }

    /// The commit point's 'W' without the row of a member: a lost branch, once its gid is listed nowhere. To see it, the clean-up pass has
    /// to know the members, which the commit point's row names.
    var isMemberMissing: Bool { row[0] == .work && (row[1] != .work || row[2] != .work) }

    /// Whether the clean-up pass finds something wrong in the rows.
    var areRowsContradictory: Bool { isDecisionMissing || isMemberMissing }

    /// Nobody is about anything and nothing is on its way.
    var isQuiet: Bool {
        !isCoordinatorAlive && first == .idle && second == .idle && prepare[1] == .none && prepare[2] == .none && decide == .none
            && finish[1] == .none && finish[2] == .none && (ask == .none)
    }

    /// Brings states that differ in nothing that matters into one form.
    mutating func normalise() {
        // The two recoverers are alike, so which is the first is no difference (and where there is one, it is the first).
        if first.rank < second.rank { swap(&first, &second) }
        guard !isCoordinatorAlive else { return }
        if prepare[1] != .requested { prepare[1] = .none }
        if prepare[2] != .requested { prepare[2] = .none }
        if decide == .answeredCommitted || decide == .answeredRefused { decide = .none }
        if ask.isAnswer { ask = .none }
        reads = Triple(all: false)
        rollsBackPoint = false
    }

    /// The state as plain words.
    var key: Key {
        var key = Key()
        withUnsafeBytes(of: self) { bytes in
            withUnsafeMutableBytes(of: &key) { $0.copyMemory(from: bytes) }
        }
        return key
    }

    struct Key: Hashable {
        var words: (UInt64, UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0, 0)

        static func == (lhs: Key, rhs: Key) -> Bool { lhs.words == rhs.words }

        func hash(into hasher: inout Hasher) {
            hasher.combine(words.0)
            hasher.combine(words.1)
            hasher.combine(words.2)
            hasher.combine(words.3)
            hasher.combine(words.4)
        }
    }
}

extension World: CustomStringConvertible {
    var description: String {
        var parts: [String] = []
        for node in 0..<3 {
            var part = "\(node):\(branch[node])"
            switch row[node] {
            case .absent: break
            case .work: part += " W"
            case .tombstone: part += " A"
            }
            if horizon[node] != .below { part += " \(horizon[node])" }
            if prepare[node] != .none { part += " prepare.\(prepare[node])" }
            if finish[node] != .none { part += " finish.\(finish[node])" }
            if reads[node] { part += " reads" }
            parts.append(part)
        }
        if isRowVolatile { parts.append("row volatile") }
        if decide != .none { parts.append("decide.\(decide)") }
        if ask != .none { parts.append("ask.\(ask)") }
        if rollsBackPoint { parts.append("rollback.sent") }
        if limbo { parts.append("limbo") }
        for recoverer in [first, second] where recoverer.task != .idle { parts.append("recoverer.\(recoverer.task)") }
        if !isCoordinatorAlive { parts.append("coordinator dead") }
        if told != .nothing { parts.append("told \(told)") }
        if isReported { parts.append("alarm") }
        return parts.joined(separator: " | ")
    }
}
