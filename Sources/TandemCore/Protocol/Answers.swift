/// A member's answer to the message that carries its row and PREPARE TRANSACTION.
///
/// R12: `no` needs proof, because the coordinator then takes the branch for gone; everything that is not proof of either is `unknown`.
package enum Vote: Hashable, Sendable {
    /// The tag was `PREPARE TRANSACTION`, with no warning of replication and no 25P01: the branch is durable wherever it has to be.
    case yes
    /// The first and only sending was answered by severity ERROR and ReadyForQuery, or by the tag `ROLLBACK`: nothing is prepared.
    case no
    /// FATAL, a lost connection, a time limit of our own, 25P01, or a warning of replication: the branch may be prepared, now or later.
    case unknown
}

/// The commit point's answer to the message that carries its row and COMMIT.
package enum Decision: Hashable, Sendable {
    /// The tag was `COMMIT`, with no warning of replication and no 25P01: the decision is durable.
    case committed
    /// The first and only sending was answered by severity ERROR and ReadyForQuery, or by the tag `ROLLBACK`.
    ///
    /// 23505 on the row belongs here as long as the message is sent exactly once; one that may have arrived twice finds its own decision in the way,
    /// and belongs to `unknown`.
    case refused
    /// Anything else: the register has to be asked.
    case unknown
}

/// What the register at the commit point says, asked by the one statement that may decide.
///
/// R13, R13a: the statement inserts the tombstone, waits for an uncommitted row, reads what is there, and its own synchronous commit makes
/// what it read durable. It is a verdict only if that commit was answered with the tag `COMMIT` and without a warning of replication; a
/// verdict acted upon earlier can be lost in a crash of the node, and then the other side wins after all.
package enum Verdict: Hashable, Sendable {
    /// The row is 'W': the transaction is committed.
    case committed
    /// The row is 'A': the transaction can never commit.
    case aborted
    /// No answer counts: 55P03, 57014, 40P01, 40001, a lost connection, an unreachable node. Ask again later.
    case undecided
    /// No row, and none could be inserted, since the id lies behind the horizon: nobody can know any more.
    ///
    /// That the statement returned nothing is not enough. Behind the horizon it has no row to insert, so it finds no conflict either and
    /// returns nothing where the row still stands; the row has then to be read `FOR UPDATE` in the same transaction. Otherwise a branch
    /// whose outcome is known would be held for ever.
    case forgotten
}

/// The answer to COMMIT PREPARED or ROLLBACK PREPARED.
package enum Finish: Hashable, Sendable {
    /// The expected tag.
    case done
    /// 42704: no such gid. Somebody else finished the branch, or it is lost; only the row tells (R16).
    case missing
    /// 55000: its session is still busy with it, for example in the wait for a standby. Not yet.
    case busy
    /// The answer was lost, or the node cannot be reached.
    case unknown
}

/// A row of `tandem.branch`, read without waiting: never enough to decide, only to judge what has been decided elsewhere.
package enum Row: Hashable, Sendable {
    /// 'W': the branch of this node committed.
    case work
    /// 'A': the branch of this node can never commit.
    case tombstone
    /// No row, and the id lies above the horizon.
    case absent
    /// No row, and the id lies behind the horizon: it may have been there.
    case forgotten
    /// The node did not answer.
    case unreachable
}
