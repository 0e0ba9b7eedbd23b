import TandemCluster
import TandemCore
import TandemFailpoints
import TandemTestSupport
import TandemTransactions
import Testing

/// Rows B21 to B23: a standby takes over from a node that lost nothing, or from one that lost a vote, a COMMIT PREPARED or the decision.
@Suite("A standby that takes over", .serialized)
struct FailoverTests {
    /// Looks as `Cluster.run()` does, until it has found something, or has compared what the new timeline asks for.
    private func contradictions(_ replicated: ReplicatedCluster, expected: Int) async throws -> [Contradiction] {
        let runner = Task { try await replicated.cluster.run() }
        defer { runner.cancel() }
        try await wait(for: "\(expected) contradictions") { await replicated.cluster.contradictions().found.count >= expected }
        return await replicated.cluster.contradictions().found
    }

    @Test("a synchronous one has every vote: the branch is committed there as it was decided (B22)")
    func nothingIsLost() async throws {
        try await ReplicatedCluster.with { replicated in
            try await replicated.synchronise()
            let held = try await Failpoints.withArmed("before_commit_prepared=hold") {
                async let transfer = replicated.transfer()
                _ = await Failpoints.held(.beforeCommitPrepared)
                try await replicated.failOver()
                #expect(try await replicated.prepared() == "1")
                Failpoints.release(.beforeCommitPrepared)
                return try await transfer
            }
            try await wait(for: "the end of the branch") {
                _ = await replicated.cluster.recover(grace: .zero)
                return try await replicated.prepared() == "0"
            }
            #expect(try await replicated.balance("n1") == "990")
            #expect(try await replicated.balance("n2") == "1010")
            #expect(try await replicated.cluster.outcome(of: held.transaction, within: .seconds(10)) == .committed)
            #expect(try await replicated.cluster.audit().findings.isEmpty)
        }
    }

    @Test("one that lost a vote after the decision: the coordinator meets no branch, says so, and records it (B21)")
    func lostVote() async throws {
        try await ReplicatedCluster.with { replicated in
            try await replicated.cutReplication()
            let receipt = try await Failpoints.withArmed("before_commit_prepared=hold") {
                async let transfer = replicated.transfer()
                _ = await Failpoints.held(.beforeCommitPrepared)
                try await replicated.failOver()
                Failpoints.release(.beforeCommitPrepared)
                return try await transfer
            }
            let found = try await contradictions(replicated, expected: 1)
            #expect(found == [try contradiction(receipt.transaction, committed: "n1", missing: "n2")])
            #expect(try await replicated.balance("n1") == "990")
            #expect(try await replicated.balance("n2") == "1000")
            // Nobody decides it anew, and nobody says that it is well.
            _ = await replicated.cluster.recover(grace: .zero)
            #expect(try await replicated.balance("n1") == "990")
            #expect(try await replicated.cluster.outcome(of: receipt.transaction, within: .zero) != .rolledBack)
        }
    }

    @Test("one that lost an acknowledged branch whole is noticed by its timeline, with nobody's memory of it, until somebody accepts it (B21)")
    func lostBranch() async throws {
        try await ReplicatedCluster.with { replicated in
            // Whoever looks after the cluster has seen the node before.
            let before = Task { try await replicated.cluster.run() }
            try await wait(for: "the first comparison") { try await Self.timelines(replicated) == 1 }
            before.cancel()
            try await replicated.cutReplication()
            let first = try await replicated.transfer(account: 1).transaction, second = try await replicated.transfer(account: 2).transaction
            try await replicated.failOver()
            // Another process than the one that saw the transactions.
            let other = try Cluster(replicated.configuration)
            defer { other.close() }
            let runner = Task { try await other.run() }
            defer { runner.cancel() }
            try await wait(for: "two contradictions") { await other.contradictions().found.count == 2 }
            #expect(await other.contradictions().found.map(\.transaction).sorted() == [first, second].sorted())
            #expect(try await other.audit().findings.count == 2)
            let doctor = try await other.examine()
            #expect(doctor.findings.contains { $0.check == "contradictions" && $0.node == "n1" && $0.status == .problem })

            let withoutReason = await #expect(throws: TandemError.self) { try await other.accept(first, reason: " ") }
            #expect(withoutReason?.code == .configurationInvalid)
            try await other.accept(first, reason: "account 1 was corrected by hand")
            #expect(await other.contradictions().found.map(\.transaction) == [second])
            let twice = await #expect(throws: TandemError.self) { try await other.accept(first, reason: "again") }
            #expect(twice?.code == .notFound)
        }
    }

    @Test("one that lost COMMIT PREPARED has the branch prepared again, and recovery commits it again from the decision (B23)")
    func lostCommitPrepared() async throws {
        try await ReplicatedCluster.with { replicated in
            let receipt = try await Failpoints.withArmed("before_commit_prepared=hold") {
                async let transfer = replicated.transfer()
                _ = await Failpoints.held(.beforeCommitPrepared)
                try await replicated.cutReplication()
                Failpoints.release(.beforeCommitPrepared)
                return try await transfer
            }
            #expect(receipt.pending.isEmpty)
            try await replicated.failOver()
            #expect(try await replicated.prepared() == "1")
            try await wait(for: "the end of the branch") {
                _ = await replicated.cluster.recover(grace: .zero)
                return try await replicated.prepared() == "0"
            }
            #expect(try await replicated.balance("n2") == "1010")
            #expect(try await replicated.cluster.audit().findings.isEmpty)
        }
    }

    @Test("a commit point that lost its decision is found by the row of the other node")
    func lostDecision() async throws {
        try await ReplicatedCluster.with(strength: 2) { replicated in
            try await replicated.cutReplication()
            let receipt = try await replicated.transfer()
            try await replicated.failOver()
            let found = try await contradictions(replicated, expected: 1)
            #expect(found == [try contradiction(receipt.transaction, committed: "n1", missing: "n2")])
        }
    }

    private func contradiction(_ id: TransactionID, committed: NodeName, missing: NodeName) throws -> Contradiction {
        Contradiction(transaction: id, kind: .lost, committed: committed, missing: missing)
    }

    /// How many timelines of n2 the nodes have noted.
    private static func timelines(_ replicated: ReplicatedCluster) async throws -> Int {
        Int(try await sql(replicated.configuration.nodes[1].conninfo, "SELECT count(*) FROM tandem.operation WHERE what = 'timeline'") ?? "") ?? 0
    }
}
