import Logging
import TandemCluster
import TandemCore
import TandemFailpoints
import TandemPostgres

/// One look at every prepared branch of the cluster (R13, R15 to R17): any process may take it, at any time, next to any number of others.
///
/// Each gid has a ``TandemCore/RecoveryMachine`` that decides; this gathers the questions of many of them into few messages. The order for each
/// gid stays: listed, then asked, then finished.
struct RecoveryPass {
    /// Questions or branches that travel in one message.
    private static let window = 64
    private static let patience = Duration.seconds(30)
    /// How long the register's own lock timeout lets one question wait.
    private static let verdictLimit = Duration.milliseconds(500)

    private struct Work {
        let branch: PreparedBranch
        var machine: RecoveryMachine
        var action: RecoveryMachine.Action?
        var settlement: RecoveryMachine.Settlement?
        var verdict: Verdict?

        mutating func on(_ event: RecoveryMachine.Event) {
            if case .verdict(let verdict) = event { self.verdict = verdict }
            action = nil
            for next in machine.on(event) {
                if case .settle(let settlement) = next { self.settlement = settlement } else { action = next }
            }
        }
    }

    let cluster: Cluster
    let grace: Duration
    let isDryRun: Bool

    func run() async -> RecoveryReport {
        var report = RecoveryReport()
        let (branches, unreachable) = await list()
        report.unreachable = unreachable
        await Failpoints.pass(.recoveryAfterList)
        let runtime = TransactionRuntime.of(cluster)
        var work: [Work] = []
        let names = cluster.namesByNumber
        let others = branches.filter { !runtime.isLive($0.gid.transaction) }
        if isDryRun {
            report.branches = await prospects(of: others, names)
            return report
        }
        let presumesAbort = await presumesAbort()
        for branch in others {
            var item = Work(
                branch: branch,
                machine: RecoveryMachine(
                    gid: branch.gid.node, commitPoint: branch.gid.commitPoint, isPastGrace: branch.age >= grace || presumesAbort))
            item.on(.begin)
            work.append(item)
        }
        await peek(&work, names)
        if presumesAbort { for index in work.indices { work[index].on(.verdict(.aborted)) } } else { await ask(&work, names) }
        await finish(&work)
        await read(&work, names)
        for item in work {
            let settlement = (item.settlement ?? .undecided).rawValue
            report.branches.append(
                RecoveryReport.Branch(
                    transaction: item.branch.gid.transaction, node: item.branch.node, gid: item.branch.gid.description, settlement: settlement))
            runtime.telemetry.settled(settlement)
            await raiseAlarm(item, names, runtime.telemetry)
        }
        return report
    }

    /// Whether it is wrong on purpose; see ``TandemFailpoints/Failpoint/recoveryPresumesAbort``.
    private func presumesAbort() async -> Bool {
        do { try await Failpoints.reach(.recoveryPresumesAbort) } catch { return error as? FailpointError == .injected(.recoveryPresumesAbort) }
        return false
    }

    /// R16: never silent.
    private func raiseAlarm(_ item: Work, _ names: [NodeID: NodeName], _ telemetry: Telemetry) async {
        let gid = item.branch.gid, node = item.branch.node
        switch item.settlement {
        case .held:
            telemetry.alarm(RecoveryMachine.Settlement.held.rawValue)
            cluster.configuration.logger.critical(
                "a transaction needs an operator",
                metadata: ["tandem.transaction": "\(gid.transaction)", "tandem.node": "\(node)", "tandem.kind": "held"])
        case .lost, .mixed:
            guard let commitPoint = names[gid.commitPoint] else { return }
            // After a verdict to roll back it is the branch that has committed.
            let isRolledBack = item.verdict == .aborted
            let contradiction = Contradiction(
                transaction: gid.transaction, kind: item.settlement == .lost ? .lost : .mixed, committed: isRolledBack ? node : commitPoint,
                missing: isRolledBack ? commitPoint : node)
            // Where it cannot be written down it was logged and counted, and the comparison of the registers finds it again.
            try? await ContradictionRecord(cluster: cluster).report(contradiction)
        default: break
        }
    }

    // MARK: Listing

    /// Every prepared branch of the cluster, asked on all nodes at the same time.
    func list() async -> (branches: [PreparedBranch], unreachable: [RecoveryReport.Unreachable]) {
        let statement = PreparedBranch.list(cluster.configuration.name)
        let answers = await onEachNode(cluster.configuration.nodes.map(\.name)) { node in
            let reply = try await cluster.runControl(node, Batch([statement]), within: Self.patience).only
            if let error = reply.error { throw TandemError(error, node: node) }
            guard let result = reply.results.last, let id = cluster.nodes[node]?.identity?.id else { return [PreparedBranch]() }
            return (0..<result.rowCount).compactMap { PreparedBranch(result, $0, node: node, id: id) }
        }
        var branches: [PreparedBranch] = []
        var unreachable: [RecoveryReport.Unreachable] = []
        for (node, answer) in answers {
            switch answer {
            case .success(let found): branches += found
            case .failure(let error): unreachable.append(RecoveryReport.Unreachable(node: node, reason: String(describing: error)))
            }
        }
        return (branches.sorted { ($0.gid.transaction, $0.node) < ($1.gid.transaction, $1.node) }, unreachable)
    }

    private func onEachNode<R: Sendable>(
        _ nodes: [NodeName], _ body: @escaping @Sendable (NodeName) async throws -> R
    ) async -> [(NodeName, Result<R, any Error>)] {
        await withTaskGroup(of: (NodeName, Result<R, any Error>).self) { group in
            for node in nodes {
                group.addTask {
                    do { return (node, .success(try await body(node))) } catch { return (node, .failure(error)) }
                }
            }
            var answers: [(NodeName, Result<R, any Error>)] = []
            for await answer in group { answers.append(answer) }
            return answers
        }
    }

    /// What a pass would do with each branch, as far as a plain read of its commit point's row tells.
    private func prospects(of branches: [PreparedBranch], _ names: [NodeID: NodeName]) async -> [RecoveryReport.Branch] {
        let rows = await rows(branches.map { ($0.gid.transaction, $0.gid.commitPoint) }, names)
        return zip(branches, rows).map { branch, row in
            let prospect = RecoveryMachine.Prospect(row: row, isPastGrace: branch.age >= grace)
            return RecoveryReport.Branch(
                transaction: branch.gid.transaction, node: branch.node, gid: branch.gid.description, settlement: prospect.rawValue)
        }
    }

    // MARK: The steps

    private func peek(_ work: inout [Work], _ names: [NodeID: NodeName]) async {
        let wanted = work.indices.filter { if case .peek? = work[$0].action { true } else { false } }
        let rows = await rows(wanted.map { (work[$0].branch.gid.transaction, work[$0].branch.gid.commitPoint) }, names)
        for (index, row) in zip(wanted, rows) { work[index].on(.peeked(row)) }
    }

    private func read(_ work: inout [Work], _ names: [NodeID: NodeName]) async {
        let wanted = work.indices.filter { if case .readRow? = work[$0].action { true } else { false } }
        let rows = await rows(wanted.map { (work[$0].branch.gid.transaction, work[$0].branch.gid.node) }, names)
        for (index, row) in zip(wanted, rows) { work[index].on(.row(row)) }
    }

    /// Reads rows of the register, many in a message.
    private func rows(_ wanted: [(transaction: TransactionID, node: NodeID)], _ names: [NodeID: NodeName]) async -> [Row] {
        let segments = wanted.map { [Register.read($0.transaction, node: $0.node)] }
        let replies = await send(segments, to: wanted.map { names[$0.node] }, interruption: .cancel)
        return replies.map { $0.map { Register.row(from: $0) } ?? .unreachable }
    }

    private func ask(_ work: inout [Work], _ names: [NodeID: NodeName]) async {
        let wanted = work.indices.filter { if case .askRegister? = work[$0].action { true } else { false } }
        if wanted.isEmpty { return }
        await Failpoints.pass(.recoveryBeforeVerdict)
        // The branches of one transaction ask the same question, and its answer is final: once is enough.
        var questions: [TransactionID: NodeID] = [:]
        for index in wanted { questions[work[index].branch.gid.transaction] = work[index].branch.gid.commitPoint }
        let order = questions.keys.sorted()
        let segments = order.map { transaction in
            Register.verdict(transaction, coordinator: cluster.coordinator)
        }
        let replies = await send(segments, to: order.map { questions[$0].flatMap { names[$0] } }, interruption: .abandon, isTransaction: true)
        var verdicts: [TransactionID: Verdict] = [:]
        if let denied = replies.lazy.compactMap({ $0?.error }).first(where: { $0.sqlState == .insufficientPrivilege || $0.sqlState == .undefinedFunction }) {
            cluster.configuration.logger.error(
                "recovery may not ask the register: run `tandem init --grant ROLE`",
                metadata: ["pg.sqlstate": "\(denied.sqlState)", "pg.message": "\(denied.message)"])
        }
        for (transaction, reply) in zip(order, replies) { verdicts[transaction] = reply.map { Register.verdict(from: $0) } ?? .undecided }
        await Failpoints.pass(.recoveryAfterVerdict)
        for index in wanted { work[index].on(.verdict(verdicts[work[index].branch.gid.transaction] ?? .undecided)) }
    }

    private func finish(_ work: inout [Work]) async {
        let wanted = work.indices.filter { work[$0].action == .commitPrepared || work[$0].action == .rollbackPrepared }
        if wanted.isEmpty { return }
        await Failpoints.pass(.recoveryBeforeFinish)
        var segments: [[Statement]] = []
        for index in wanted {
            let gid = work[index].branch.gid
            segments.append([work[index].action == .commitPrepared ? Register.commitPrepared(gid) : Register.rollbackPrepared(gid)])
        }
        let replies = await send(segments, to: wanted.map { work[$0].branch.node }, interruption: .abandon, isFinishing: true) {
            await Failpoints.pass(.recoveryAfterFinish)
        }
        for (index, reply) in zip(wanted, replies) { work[index].on(.finished(reply.map { Commit.finish(from: $0) } ?? .unknown)) }
    }

    /// Sends segments to their nodes, many in a message and all nodes at the same time; `nil` where no answer came.
    ///
    /// A segment that is a transaction is followed by a ROLLBACK of its own: one that fails would otherwise leave its block open and take
    /// all those behind it with it, in each pass anew.
    private func send(
        _ segments: [[Statement]], to nodes: [NodeName?], interruption: Batch.Interruption, isFinishing: Bool = false, isTransaction: Bool = false,
        afterEachWindow: @escaping @Sendable () async -> Void = {}
    ) async -> [SegmentReply?] {
        var byNode: [NodeName: [Int]] = [:]
        for (index, node) in nodes.enumerated() {
            if let node { byNode[node, default: []].append(index) }
        }
        let places = byNode
        let answers = await onEachNode(Array(byNode.keys)) { node in
            let finisher = isFinishing ? try cluster.node(node) : nil
            var replies: [(Int, SegmentReply)] = []
            var rest = (places[node] ?? [])[...]
            while !rest.isEmpty {
                let window = rest.prefix(Self.window)
                rest = rest.dropFirst(Self.window)
                let wire = window.flatMap { isTransaction ? [segments[$0], [Register.rollback]] : [segments[$0]] }
                let limit = isTransaction ? Self.patience + Self.verdictLimit * window.count : Self.patience
                let message = finisher?.finishing(wire)
                let answer = try await cluster.runControl(node, Batch(segments: message?.segments ?? wire, interruption: interruption), within: limit)
                let own = message?.answers(in: answer) ?? answer.segments[...]
                let width = isTransaction ? 2 : 1
                for (place, index) in window.enumerated() { replies.append((index, own[own.startIndex + place * width])) }
                await afterEachWindow()
            }
            return replies
        }
        var result = [SegmentReply?](repeating: nil, count: segments.count)
        for (_, answer) in answers {
            guard case .success(let replies) = answer else { continue }
            for (index, reply) in replies { result[index] = reply }
        }
        return result
    }
}
