/// Recovery's side of one gid found in `pg_prepared_xacts`: it decides what to do next, and somebody else does it.
///
/// Any number of these may work on one gid at any time, in any processes, next to a coordinator that may still be alive: nothing here rests
/// on being alone, only on the register's first writer winning.
///
/// R13, the order of observations: first the gid is listed (its branch is prepared), then the register is asked, then the branch is
/// finished. The question writes before it reads. A coordinator that comes back late finds the tombstone, so it cannot commit any more; a
/// commit in flight makes the question wait, so what it reads afterwards is final. Reading first and writing afterwards would leave a gap
/// in which the decision commits.
///
/// ```swift
/// var machine = RecoveryMachine(gid: gid.node, commitPoint: gid.commitPoint, isPastGrace: age > grace)
/// var actions = machine.on(.begin)        // [.askRegister(commit point)]
/// actions = machine.on(.verdict(.aborted))   // [.rollbackPrepared]
/// actions = machine.on(.finished(.done))     // [.settle(.rolledBack)]
/// ```
package struct RecoveryMachine: Hashable, Sendable {
    /// What has happened: the answer to the last action.
    package enum Event: Hashable, Sendable {
        case begin
        /// The answer to ``Action/peek(_:)``.
        case peeked(Row)
        /// The answer to ``Action/askRegister(_:)``.
        case verdict(Verdict)
        /// The answer to ``Action/commitPrepared`` or ``Action/rollbackPrepared``.
        case finished(Finish)
        /// The answer to ``Action/readRow(_:)``.
        case row(Row)
    }

    /// What to do next.
    package enum Action: Hashable, Sendable {
        /// Read the row at this node, without waiting and without writing.
        case peek(NodeID)
        /// Ask the register at this node by the one statement that decides; see ``Verdict``.
        case askRegister(NodeID)
        /// COMMIT PREPARED of this gid.
        case commitPrepared
        /// ROLLBACK PREPARED of this gid.
        case rollbackPrepared
        /// Read this transaction's row at this node.
        case readRow(NodeID)
        /// There is nothing more to do for now.
        case settle(Settlement)
    }

    /// How one look at a gid ended.
    package enum Settlement: String, Hashable, Sendable, CaseIterable {
        case committed
        case rolledBack = "rolled_back"
        /// Younger than the grace time, and nothing decided: its coordinator is probably alive.
        case tooYoung = "too_young"
        /// The commit point does not tell yet: its branch is still open, or it cannot be reached. Look again later.
        case undecided
        /// The evidence is gone behind the horizon: an operator has to look, and nothing is decided.
        case held
        /// Alarm: the transaction committed, and this branch of it is gone without having committed (R16).
        case lost
        /// Alarm: the transaction went one way and this branch the other.
        case mixed
        /// The branch's own session is not done with it. Look again later.
        case busy
        /// The node of the branch did not answer. Look again later.
        case unreachable
        /// Somebody else finished the branch, the right way.
        case settledElsewhere = "settled_elsewhere"
    }

    /// What a pass would do with a gid if it were more than a look. Only the question itself decides: a decision may be on its way.
    package enum Prospect: String, Hashable, Sendable, CaseIterable {
        case wouldCommit = "would_commit"
        /// Where there is no row yet, the tombstone would be written first.
        case wouldRollBack = "would_roll_back"
        case tooYoung = "too_young"
        case wouldHold = "would_hold"
        case undecided

        /// - Parameters:
        ///   - row: The row of the commit point, as a plain read shows it.
        ///   - isPastGrace: Whether the branch is older than the grace time.
        package init(row: Row, isPastGrace: Bool) {
            self =
                switch row {
                case .work: .wouldCommit
                case .tombstone: .wouldRollBack
                case .absent: isPastGrace ? .wouldRollBack : .tooYoung
                case .forgotten: isPastGrace ? .wouldHold : .tooYoung
                case .unreachable: .undecided
                }
        }
    }

    private enum Phase: Hashable {
        case idle, peeking, asking, committing, rollingBack, checkingCommit, checkingRollback, settled
    }

    private let node: NodeID
    private let commitPoint: NodeID
    private let isPastGrace: Bool
    private var phase = Phase.idle

    /// Recovery of one gid.
    ///
    /// - Parameters:
    ///   - node: The node on which the gid was found.
    ///   - commitPoint: The node that knows the decision; the gid names it.
    ///   - isPastGrace: Whether the branch is older than the grace time, which only avoids needless aborts.
    package init(gid node: NodeID, commitPoint: NodeID, isPastGrace: Bool) {
        self.node = node
        self.commitPoint = commitPoint
        self.isPastGrace = isPastGrace
    }

    /// Takes what has happened and says what to do next; an event that no action waits for changes nothing.
    ///
    /// - Parameter event: The answer to the last action.
    /// - Returns: At most one action.
    package mutating func on(_ event: Event) -> [Action] {
        switch (phase, event) {
        case (.idle, .begin):
            // Past the grace time the question itself is asked: a plain read could tell "absent" while the decision is in flight.
            return isPastGrace ? ask() : go(.peeking, .peek(commitPoint))
        case (.peeking, .peeked(let row)):
            return peeked(row)
        case (.asking, .verdict(let verdict)):
            return judge(verdict)
        case (.committing, .finished(let finish)):
            return finished(finish, as: .committed, else: .checkingCommit)
        case (.rollingBack, .finished(let finish)):
            return finished(finish, as: .rolledBack, else: .checkingRollback)
        case (.checkingCommit, .row(let row)):
            return settle(Self.afterCommit(row))
        case (.checkingRollback, .row(let row)):
            return settle(Self.afterRollback(row))
        case (.idle, _), (.peeking, _), (.asking, _), (.committing, _), (.rollingBack, _), (.checkingCommit, _), (.checkingRollback, _),
            (.settled, _):
            return []
        }
    }

    private mutating func peeked(_ row: Row) -> [Action] {
        switch row {
        case .work, .tombstone:
            // R13a: a plain read proves nothing durable: a 'W' may wait for its standby, an 'A' for its flush. The question's own commit is
            // the barrier, so it is asked although the row has been seen.
            return ask()
        case .absent, .forgotten:
            // Asking now would write a tombstone and so abort a transaction whose coordinator is at work.
            return settle(.tooYoung)
        case .unreachable:
            return settle(.undecided)
        }
    }

    private mutating func judge(_ verdict: Verdict) -> [Action] {
        switch verdict {
        case .committed: go(.committing, .commitPrepared)
        case .aborted: go(.rollingBack, .rollbackPrepared)
        case .undecided: settle(.undecided)
        // R17: behind the horizon a missing row may have been a 'W' or an 'A'; rolling back would undo a commit brought back by a failover.
        case .forgotten: settle(.held)
        }
    }

    private mutating func finished(_ finish: Finish, as settlement: Settlement, else check: Phase) -> [Action] {
        switch finish {
        case .done: settle(settlement)
        // R16: 42704 may mean done by another or lost. Only the branch's own row tells, and it is read after the 42704: COMMIT PREPARED
        // makes the row visible before the gid disappears.
        case .missing: go(check, .readRow(node))
        case .busy: settle(.busy)
        case .unknown: settle(.unreachable)
        }
    }

    /// R16 after a verdict to commit, the gid being gone.
    private static func afterCommit(_ row: Row) -> Settlement {
        switch row {
        case .work: .settledElsewhere
        case .absent: .lost
        case .tombstone: .mixed
        // Too long ago to tell: neither an alarm nor silence.
        case .forgotten: .held
        case .unreachable: .unreachable
        }
    }

    /// R16 after a verdict to roll back, the gid being gone: a branch that is gone is what was wanted, unless it committed.
    private static func afterRollback(_ row: Row) -> Settlement {
        switch row {
        case .work: .mixed
        case .absent, .tombstone, .forgotten: .settledElsewhere
        case .unreachable: .unreachable
        }
    }

    private mutating func ask() -> [Action] { go(.asking, .askRegister(commitPoint)) }

    private mutating func settle(_ settlement: Settlement) -> [Action] { go(.settled, .settle(settlement)) }

    private mutating func go(_ next: Phase, _ action: Action) -> [Action] {
        phase = next
        return [action]
    }
}
