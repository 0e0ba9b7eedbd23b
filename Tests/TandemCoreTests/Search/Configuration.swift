/// What may happen in one search.
struct Configuration: Sendable, CustomStringConvertible {
    var name: String
    /// Branches that are open from the start; one that is not comes with its vote or decision, as one message.
    var isPointOpen = true
    var areMembersOpen = true
    var recoverers = 2
    /// The horizon may pass the transaction at any time, and rows behind it are removed by the rules of R17.
    var forgets = false
    /// The horizon passes only after the coordinator has died.
    var forgetsLate = false
    /// How many accidents of the kinds below may happen.
    var accidents: UInt8 = 0
    /// A node crashes and starts again; what was not flushed may be gone.
    var crashes = false
    /// The commit point has a synchronous standby: a wait for it may be cancelled, and it may take over.
    var isSynchronous = false
    /// A member, or the commit point, is replaced by a copy that lacks its latest changes, acknowledged ones included.
    var membersGoBack = false
    var pointGoesBack = false
    /// User SQL may have ended a branch's transaction before the commit begins.
    var userEnds = false
    /// A recoverer may find a gid within its grace time, and then only looks before it asks.
    var mayBeYoung = false
    var broken: Break?

    var description: String { broken.map { "\(name), broken: \($0.rawValue)" } ?? name }
    var hasFailover: Bool { membersGoBack || pointGoesBack }

    func breaking(_ rule: Break) -> Configuration {
        var configuration = self
        configuration.broken = rule
        return configuration
    }

    static let base = Configuration(name: "base")
    static let young = Configuration(name: "young", isPointOpen: false, recoverers: 1, mayBeYoung: true)
    static let last = Configuration(name: "last", isPointOpen: false)
    static let forget = Configuration(name: "forget", recoverers: 1, forgets: true)
    static let forgetLast = Configuration(name: "forget-last", isPointOpen: false, areMembersOpen: false, recoverers: 1, forgets: true)
    static let crash = Configuration(name: "crash", isPointOpen: false, accidents: 1, crashes: true)
    static let synchronous = Configuration(name: "syncrep", accidents: 1, isSynchronous: true)
    static let userEnded = Configuration(name: "user-ended", recoverers: 1, userEnds: true)
    static let memberFailover = Configuration(name: "member-failover", recoverers: 1, accidents: 1, membersGoBack: true)
    static let forgottenFailover = Configuration(
        name: "forgotten-failover", recoverers: 1, forgets: true, forgetsLate: true, accidents: 1, membersGoBack: true)
    static let pointFailover = Configuration(
        name: "point-failover", isPointOpen: false, recoverers: 1, forgets: true, forgetsLate: true, accidents: 1, pointGoesBack: true)
}

/// A rule broken on purpose, in the environment or between it and the machines; the search has to find each of them.
enum Break: String, Sendable, CaseIterable {
    /// R13: recovery takes a missing row for an abort, without writing the tombstone first.
    case noTombstone = "no-tombstone"
    /// R8: the coordinator counts a vote that has not arrived.
    case earlyCommit = "early-commit"
    /// R13: a question that waits behind an uncommitted row is taken for a missing row.
    case busyMeansNo = "busy-means-no"
    /// R17: rows are removed while a branch is still listed somewhere.
    case forgetEarly = "forget-early"
    /// R5: a PREPARE answered with the tag ROLLBACK is counted as a vote.
    case tagIgnored = "tag-ignored"
    /// R17: rows are removed without a fence against later inserts.
    case noHorizon = "no-horizon"
    /// R13a: what was read is acted upon before it is durable.
    case noBarrier = "no-barrier"
    /// R13: the branch is finished before the verdict's own transaction has committed.
    case verdictBeforeCommit = "verdict-before-commit"
    /// A14: the decision is sent again after a lost answer, and 23505 taken for a no.
    case resend
    /// A7: the row was inserted early, and user SQL took it back with ROLLBACK TO.
    case earlyRow = "early-row"
    /// R5a: the row does not prove that the transaction is the one that was begun.
    case noProof = "no-proof"
    /// A14: a lost answer to the decision is taken for a no.
    case unknownMeansNo = "unknown-means-no"
    /// R17: a row behind the horizon that is still there is not read, so a listed branch is held although its outcome is known.
    case fenceHidesRow = "fence-hides-row"
    /// R12: the coordinator rolls back on an undecided answer of the register.
    case undecidedMeansNo = "undecided-means-no"
    /// A15: rows are removed without having been compared.
    case noAudit = "no-audit"
    /// A15: only a member's 'W' is looked at, not the commit point's.
    case oneSidedAudit = "one-sided-audit"
}
