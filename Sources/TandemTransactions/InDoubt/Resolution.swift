import TandemCluster
import TandemCore
import TandemPostgres

/// One operator's wish for one transaction: whether it may be followed, and how.
struct Resolution {
    private static let patience = Duration.seconds(20)

    let cluster: Cluster
    let transaction: TransactionID
    let wish: Outcome
    let reason: String

    func run() async throws -> TransactionDescription {
        guard !reason.allSatisfy(\.isWhitespace) else {
            throw TandemError(.configurationInvalid, "a reason is needed: it is recorded beside what was done", nextStep: "say why")
        }
        guard !reason.utf8.contains(0) else { throw TandemError(.encodingFailed, "the reason holds the character U+0000", nextStep: "leave it out") }
        guard !TransactionRuntime.of(cluster).isLive(transaction) else {
            throw TandemError(
                .refusedBySafetyRule, "this process is running the transaction right now", isRetrySafe: true,
                nextStep: "wait for it, or cancel its task")
        }
        let survey = Survey(cluster: cluster)
        guard var evidence = await survey.trace(of: transaction) else { throw TandemError.noTrace }
        var way = try evidence.way(toResolveAs: wish)
        if case .force = way {
            // A connection that broke just now looks like a node out of reach: only one that is so twice is.
            evidence = await survey.evidence(of: transaction)
            way = try evidence.way(toResolveAs: wish)
        }
        switch way {
        case .nothingToDo: return evidence.description
        case .ask(let node): try await obey(try await ask(node), at: node)
        case .force: break
        }
        try await finish(evidence.prepared, survey)
        return await survey.evidence(of: transaction).description
    }

    /// The question that settles it: where nothing is decided yet, its tombstone decides.
    private func ask(_ node: NodeName) async throws -> Verdict {
        let batch = Batch(Register.verdict(transaction, coordinator: cluster.coordinator), interruption: .abandon)
        return Register.verdict(from: try await cluster.runControl(node, batch, within: Self.patience).only)
    }

    /// Goes on only where the wish is what the register says, or where the register no longer knows.
    private func obey(_ verdict: Verdict, at node: NodeName) async throws {
        switch (verdict, wish) {
        case (.committed, .committed), (.aborted, .rolledBack), (.forgotten, _): return
        case (.committed, _): throw TandemError.recorded(.committed, at: node)
        case (.aborted, _): throw TandemError.recorded(.rolledBack, at: node)
        case (.undecided, _):
            throw TandemError(
                .refusedBySafetyRule,
                "the commit point has not decided yet: its own branch is still open there, or a standby has not confirmed",
                isRetrySafe: true, node: node, nextStep: "ask again; if it stays so, look at the node's pg_stat_activity")
        }
    }

    /// On each node first the record, and only when that is committed the branch: nobody shall find a forced outcome without its reason.
    private func finish(_ branches: [PreparedBranch], _ survey: Survey) async throws {
        let byNode = Dictionary(branches.map { ($0.node, $0.gid) }) { first, _ in first }
        let answers = await survey.onEachNode(Array(byNode.keys)) { node in
            guard let gid = byNode[node] else { return }
            let record = try await cluster.runControl(node, Batch([record]), within: Self.patience).only
            if let error = record.error { throw TandemError(error, node: node, phase: "record") }
            guard record.lastTag == "INSERT 0 1", !record.isReplicationUnconfirmed else {
                throw TandemError(
                    .statementFailed, "the reason could not be recorded safely, so the branch was left alone", isRetrySafe: true, node: node
                )
            }
            try await finish(gid, on: node)
        }
        for case .failure(let error) in answers.values { throw error }
    }

    private func finish(_ gid: GID, on node: NodeName) async throws {
        let owner = try cluster.node(node)
        let message = owner.finishing([[wish == .committed ? Register.commitPrepared(gid) : Register.rollbackPrepared(gid)]])
        let reply = try await cluster.runControl(node, Batch(segments: message.segments, interruption: .abandon), within: Self.patience)
        guard let answer = message.answers(in: reply).first else { throw TandemError(.protocolViolation, "the server sent no answer", node: node) }
        switch Commit.finish(from: answer) {
        // Missing: somebody else finished it first; the description that follows says how.
        case .done, .missing: return
        case .busy, .unknown:
            if let error = answer.error { throw TandemError(error, node: node, phase: "resolve").with(gid: gid) }
            throw TandemError(
                .nodeUnreachable, "a standby has not confirmed the end of the branch", isRetrySafe: true, node: node, gid: gid)
        }
    }

    /// Expected tag: `INSERT 0 1`. Who, and when, the table adds itself.
    private var record: Statement {
        Statement(
            "INSERT INTO tandem.operation (what, transaction_id, reason) VALUES ($1, $2::pg_catalog.uuid, $3)",
            parameters: ParameterBuffer(texts: [
                wish == .committed ? "resolve commit" : "resolve rollback", transaction.description, reason,
            ]))
    }
}

extension Evidence {
    /// How a wish may be followed.
    enum Way {
        /// It is so already, and no branch waits for it.
        case nothingToDo
        /// The commit point answers: what it says counts.
        case ask(NodeName)
        /// Nobody can say otherwise: the commit point cannot be reached, or is no longer part of the cluster.
        case force
    }

    /// S22: decides without asking or writing anything.
    ///
    /// A wish against a row that is there is refused, whatever else is known. A wish to commit where the commit point has no row is
    /// refused before the register is asked, since its question writes a tombstone: it would settle what the operator did not want.
    func way(toResolveAs wish: Outcome) throws(TandemError) -> Way {
        if wish == .inDoubt {
            throw TandemError(.configurationInvalid, "in doubt is no decision", nextStep: "choose committed or rolled back")
        }
        if isContradictory {
            throw TandemError(
                .refusedBySafetyRule, "one branch committed and the commit point has a tombstone: no outcome is right any more",
                node: tombstone?.name,
                nextStep: "compare the data of the nodes by hand")
        }
        if outcome != .inDoubt, outcome != wish, let node = work ?? tombstone { throw TandemError.recorded(outcome, at: node.name) }
        guard let commitPoint = commitPoints.first else {
            if outcome == wish { return .nothingToDo }
            if let failure { throw failure }
            throw TandemError(
                .refusedBySafetyRule, "nothing of the transaction is prepared", isRetrySafe: true, nextStep: "let its coordinator finish")
        }
        guard commitPoints.count == 1 else {
            throw TandemError(
                .refusedBySafetyRule, "its branches name different commit points",
                nextStep: "look at its gids: one transaction made only some of them")
        }
        guard let node = node(commitPoint) else { return .force }
        if let failure = node.failure {
            guard failure.isOutOfReach else { throw failure }
            return .force
        }
        if node.row == .absent, wish == .committed {
            throw TandemError(
                .refusedBySafetyRule, "the commit point answers and has recorded no commit", node: node.name,
                nextStep: "roll it back, or let its coordinator finish")
        }
        return .ask(node.name)
    }
}

extension TandemError {
    /// The register says otherwise.
    static func recorded(_ outcome: Outcome, at node: NodeName) -> TandemError {
        TandemError(
            .refusedBySafetyRule, "the recorded decision is \(outcome == .committed ? "committed" : "rolled back")", node: node,
            nextStep: "finish it that way, or let `tandem recover` do it")
    }

    /// No node knows the transaction, and every node has answered.
    static var unrecorded: TandemError {
        TandemError(
            .notFound, "the id belongs to work on one node that no register records", nextStep: "look at the data itself to see whether it committed")
    }

    static var noTrace: TandemError {
        TandemError(
            .notFound, "no node has a trace of it: it was rolled back, never existed, or is older than the retention",
            nextStep: "check the id")
    }

    /// Nobody answers at the node's address. A node that answers and lets nobody in, or is another database, could still know the decision.
    var isOutOfReach: Bool {
        switch code {
        case .nodeUnreachable, .connectionLost: true
        case .deadlineExceeded: sqlState == nil
        default: false
        }
    }
}
