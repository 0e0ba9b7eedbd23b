public import TandemCluster
public import TandemCore
import TandemPostgres

extension Cluster {
    /// The transactions that have a prepared branch somewhere, the oldest first: in doubt, or just being committed.
    ///
    /// - Returns: what is known about each of them, and the nodes that did not answer, where more may be prepared.
    @concurrent
    public func transactionsInDoubt() async -> (transactions: [TransactionDescription], unreachable: [RecoveryReport.Unreachable]) {
        let (evidence, unreachable) = await Survey(cluster: self).inDoubt()
        return (evidence.map(\.description), unreachable)
    }

    /// What the nodes know about a transaction, asked at the same time. It changes nothing. Where nobody has a trace, sessions that may be in the
    /// transaction without saying so are waited for, a second at most.
    ///
    /// - Parameter id: the transaction.
    /// - Returns: its decision as far as the register tells, and its branches.
    /// - Throws: `notFound` when every node has answered and none has a trace of it: it was rolled back, or never existed, or is older than the
    ///   retention (presumed abort: a transaction that rolls back in order leaves nothing).
    @concurrent
    public func describe(_ id: TransactionID) async throws -> TransactionDescription {
        guard id.isRecorded else { throw TandemError.unrecorded }
        guard let evidence = await Survey(cluster: self).trace(of: id) else { throw TandemError.noTrace }
        return evidence.description
    }

    /// Finds a transaction by the end of its id, which is its random part.
    ///
    /// - Parameter suffix: the whole id, or at least six characters of its end that no other transaction has, among those in doubt and the
    ///   newest 100,000 rows of each node.
    /// - Returns: the id; a whole one whether or not anybody knows it.
    /// - Throws: `notFound` when there is none or more than one; `nodeUnreachable` and kin when there is none and a node did not answer.
    @concurrent
    public func find(suffix: String) async throws -> TransactionID {
        if let id = TransactionID(suffix) { return id }
        let end = suffix.lowercased()
        guard end.utf8.count >= 6, end.allSatisfy({ $0 == "-" || ($0.isASCII && $0.isHexDigit) }) else {
            throw TandemError(
                .notFound, "this is neither an id nor six or more characters of the end of one", nextStep: "copy the id from `tandem tx ls`"
            )
        }
        let survey = Survey(cluster: self)
        let recent = await survey.find(suffix: end)
        let inDoubt = await survey.inDoubt().evidence.map(\.transaction).filter { $0.description.hasSuffix(end) }
        let found = recent.transactions.union(inDoubt)
        guard found.count <= 1 else {
            throw TandemError(.notFound, "\(found.count) transactions or more end so", nextStep: "give more of the id's end")
        }
        if let id = found.first { return id }
        throw recent.failure ?? TandemError(.notFound, "no transaction in doubt and no recent one ends so", nextStep: "give the whole id")
    }

    /// Ends the prepared branches of a transaction as an operator wishes, where the wish is what the register says or where nobody can say any
    /// more.
    ///
    /// While the commit point answers, its row counts: a wish against it is refused, a wish to commit is refused where there is no row, and a
    /// wish to roll back writes the tombstone there first, so that the coordinator cannot commit any more. Only where the commit point cannot
    /// be reached, has left the cluster, or has forgotten so old an id, the wish is forced. On each node the wish and its reason are
    /// recorded in `tandem.operation`, and committed, before its branch is ended.
    ///
    /// A forced outcome may be the wrong one. When the commit point comes back, the rows show it: a branch that was forced to commit has its
    /// 'W' beside the tombstone that recovery then writes for the branches that are left, and ``describe(_:)`` says in doubt; recovery calls
    /// a branch `mixed` or `lost` where it still finds it listed. A branch that was forced to roll back leaves no row, only its record.
    ///
    /// - Parameters:
    ///   - id: the transaction.
    ///   - outcome: committed or rolled back.
    ///   - reason: why, for whoever reads the record; not empty.
    /// - Returns: what is known about the transaction afterwards.
    /// - Throws: `refusedBySafetyRule` with the recorded decision; `notFound`; `configurationInvalid` without a reason; `notPermitted` and kin
    ///   when a node does not end its branch, after all others were tried.
    @concurrent
    public func resolve(_ id: TransactionID, as outcome: Outcome, reason: String) async throws -> TransactionDescription {
        guard id.isRecorded else { throw TandemError.unrecorded }
        return try await Resolution(cluster: self, transaction: id, wish: outcome, reason: reason).run()
    }

    /// What became of a transaction, for a caller who was told that it is in doubt.
    ///
    /// It asks until it is known or the time is over. A row is believed once it is durable where it stands. While branches are prepared that
    /// are older than the configuration's `recoveryGrace`, the register at the commit point is asked by the statement that decides, as
    /// recovery does: an undecided transaction is then rolled back. Younger ones are left to their coordinator.
    ///
    /// A transaction that rolls back in order leaves no trace, and a missing row proves nothing while a commit may still be on its way.
    /// Where every node answers and none has a row, a prepared branch or an open session of the transaction, the answer is therefore in doubt
    /// while its id is younger than `recoveryGrace`, and rolled back when it is older, by this machine's clock. What if an id is used that
    /// was made long before? Then the answer may come before the transaction has even begun, so make ids when they are used.
    ///
    /// - Parameters:
    ///   - id: the transaction.
    ///   - limit: how long to go on asking; zero asks once, and again for at most a second while sessions
    ///     are in transactions that they do not name.
    /// - Returns: the outcome; in doubt when it was not known in time, or when the nodes contradict each other.
    /// - Throws: `transactionForgotten` when the id is older than what the nodes remember; `CancellationError`.
    @concurrent
    public func outcome(of id: TransactionID, within limit: Duration) async throws -> Outcome {
        try await OutcomeQuestion(cluster: self, transaction: id, deadline: .now + limit).run()
    }
}
