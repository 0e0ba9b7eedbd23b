import TandemCluster
import TandemCore
import TandemFailpoints
import TandemLocal
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemTransactions

@Suite("Recovery")
struct RecoveryTests {
    @Test("rolls an undecided branch back, behind a tombstone, and finds nothing the second time")
    func undecided() async throws {
        try await withCluster { test in
            let id = TransactionID.fresh()
            try await test.leavePrepared(id)
            let report = await test.cluster.recover(grace: .zero)
            #expect(report.branches.map(\.settlement) == ["rolled_back"] && report.settled == 1 && report.unreachable.isEmpty)
            #expect(try await test.row(id, "n1") == "A")
            try await test.expectUntouched()
            #expect(await test.cluster.recover(grace: .zero).branches.isEmpty)
        }
    }

    @Test("commits a decided branch, however young it is")
    func decided() async throws {
        try await withCluster { test in
            let id = TransactionID.fresh()
            try await test.leavePrepared(id)
            try await test.decide(id)
            let report = await test.cluster.recover(grace: .seconds(3600))
            #expect(report.branches.map(\.settlement) == ["committed"])
            try await test.expectMoved()
        }
    }

    @Test("leaves a young undecided branch alone, and writes nothing")
    func young() async throws {
        try await withCluster { test in
            let id = TransactionID.fresh()
            try await test.leavePrepared(id)
            let report = await test.cluster.recover(grace: .seconds(3600))
            #expect(report.branches.map(\.settlement) == ["too_young"] && report.remaining == 1)
            #expect(try await test.row(id, "n1") == nil)
            #expect(try await test.prepared().count == 1)
            _ = await test.cluster.recover(grace: .zero)
        }
    }

    @Test("a dry run says what would become of each branch, and changes nothing")
    func dryRun() async throws {
        try await withCluster { test in
            let id = TransactionID.fresh()
            try await test.leavePrepared(id)
            let report = await test.cluster.recover(grace: .zero, isDryRun: true)
            #expect(report.branches.map(\.transaction) == [id] && report.branches.map(\.settlement) == ["would_roll_back"])
            #expect(report.expected == 1 && report.settled == 0 && report.remaining == 1)
            let patient = await test.cluster.recover(grace: .seconds(3600), isDryRun: true)
            #expect(patient.branches.map(\.settlement) == ["too_young"] && patient.expected == 0)
            #expect(try await test.row(id, "n1") == nil)
            #expect(try await test.prepared().count == 1)
            try await test.decide(id)
            #expect(await test.cluster.recover(grace: .zero, isDryRun: true).branches.map(\.settlement) == ["would_commit"])
            #expect(try await test.prepared().count == 1)
            _ = await test.cluster.recover(grace: .zero)
        }
    }

    @Test("touches no gid of others: another program's, another cluster's, and one that only a wildcard would match")
    func foreign() async throws {
        try await withCluster(2, { $0.name = "te_t" }) { test in
            let id = TransactionID.fresh()
            let two = try test.id("n2"), one = try test.id("n1")
            let strangers = [
                "citus_1_2", "tandem1:texT:\(id):\(two):c\(one)", "tandem1:other:\(id):\(two):c\(one)", "tandem1:te_t:not-a-transaction",
                "tandem1:te_t:\(id):\(two):c\(one):more",
                "tandem1:te_t:\("\(id)".uppercased()):\(two):c\(one)", "x",
            ]
            let session = try await test.session("n2")
            for (index, gid) in strangers.enumerated() {
                try await session.run("BEGIN")
                try await session.run("UPDATE account SET balance = balance + 1 WHERE id = \(index + 10)")
                try await session.run("PREPARE TRANSACTION '\(gid)'")
            }
            try await test.leavePrepared(id)
            let report = await test.cluster.recover(grace: .zero)
            #expect(report.branches.count == 1 && report.settled == 1)
            #expect(try await test.prepared() == strangers.sorted())
            for gid in strangers { try await session.run("ROLLBACK PREPARED '\(gid)'") }
            await session.close()
        }
    }

    @Test("a gid of ours that lies on another node than it names is not touched")
    func misplaced() async throws {
        try await withCluster { test in
            let id = TransactionID.fresh()
            let gid = try test.gid(id, "n1", commitPoint: "n2")
            let session = try await test.session("n2")
            try await session.run("BEGIN")
            try await session.run("UPDATE account SET balance = balance + 1 WHERE id = 1")
            try await session.run("PREPARE TRANSACTION '\(gid)'")
            #expect(await test.cluster.recover(grace: .zero).branches.isEmpty)
            #expect(try await test.prepared() == [gid.description])
            try await session.run("ROLLBACK PREPARED '\(gid)'")
            await session.close()
        }
    }

    @Test("two recoverers at once settle many transactions, each to one side")
    func twoAtOnce() async throws {
        try await withCluster(3) { test in
            let count = 70
            var ids: [TransactionID] = []
            for index in 1...count {
                let id = TransactionID.fresh()
                ids.append(id)
                try await test.leavePrepared(id, "n2", account: index)
                if index % 3 != 0 { try await test.leavePrepared(id, "n3", account: index) }
                if index % 2 == 0 { try await test.decide(id, account: index) }
            }
            let other = try test.another()
            defer { other.close() }
            async let first = test.cluster.recover(grace: .zero)
            async let second = other.recover(grace: .zero)
            let reports = await [first, second]
            #expect(reports.allSatisfy { !$0.needsAttention })
            // What both wanted at the same moment may be busy for one of them; nobody is left in the end.
            _ = await test.cluster.recover(grace: .zero)
            #expect(try await test.prepared() == [])
            for (index, id) in ids.enumerated() {
                let isDecided = (index + 1) % 2 == 0
                #expect(try await test.row(id, "n1") == (isDecided ? "W" : "A"))
                #expect(try await test.row(id, "n2") == (isDecided ? "W" : nil))
            }
        }
    }

    @Test("a commit point whose branch is still open leaves that transaction undecided, and no other")
    func openCommitPoint() async throws {
        try await withCluster { test in
            let ids = (0..<6).map { _ in TransactionID.fresh() }.sorted()
            for (index, id) in ids.enumerated() {
                try await test.leavePrepared(id, account: index + 1)
                if index % 2 == 1 { try await test.decide(id, account: index + 1) }
            }
            // The first in order: its row is written and not committed, as in a decision that is on its way.
            let open = try await test.session("n1")
            try await open.run("BEGIN")
            try await open.run("INSERT INTO tandem.branch (transaction_id, node) VALUES ('\(ids[0])', \(try test.id("n1")))")
            // A session that has not run the question yet, and one that has.
            for expected in [5, 0] {
                let report = await test.cluster.recover(grace: .zero)
                #expect(report.settled == expected)
                #expect(report.branches.filter { $0.settlement == "undecided" }.map(\.transaction) == [ids[0]])
            }
            try await open.run("COMMIT")
            await open.close()
            #expect(await test.cluster.recover(grace: .zero).branches.map(\.settlement) == ["committed"])
            #expect(try await test.prepared() == [])
        }
    }

    @Test("a PREPARE that arrives after the rollback is found and rolled back by a later pass")
    func latePrepare() async throws {
        try await withCluster { test in
            let id = TransactionID.fresh()
            let blocker = try await test.session("n2")
            try await blocker.run("BEGIN")
            try await blocker.run("UPDATE account SET balance = balance WHERE id = 1")
            // A coordinator's message waits for a row lock; its client dies; the server goes on with the message.
            let dying = try await RawSession.open(try test.conninfo("n2"))
            let gid = try test.gid(id, "n2", commitPoint: "n1")
            let message = Batch(
                [
                    "BEGIN", "UPDATE account SET balance = balance + 10 WHERE id = 1",
                    "INSERT INTO tandem.branch (transaction_id, node) VALUES ('\(id)', \(try test.id("n2")))", "PREPARE TRANSACTION '\(gid)'",
                ].map { Statement($0, isPrepared: false) }, interruption: .abandon)
            let task = Task { try await dying.connection.run(message) }
            try await wait(for: "the wait for the lock") {
                try await test.value("n2", "SELECT count(*) FROM pg_stat_activity WHERE pid = \(dying.backend) AND wait_event_type = 'Lock'") == "1"
            }
            await dying.close()
            _ = await task.result
            // Somebody else asks for the transaction, so it can never commit; there is nothing prepared yet to roll back.
            try await test.value("n1", "INSERT INTO tandem.branch (transaction_id, node, kind) VALUES ('\(id)', \(try test.id("n1")), 'A')")
            #expect(await test.cluster.recover(grace: .zero).branches.isEmpty)
            try await blocker.run("COMMIT")
            await blocker.close()
            try await wait(for: "the late PREPARE") { try await test.prepared() == [gid.description] }
            // It is seen before its session has let go of it.
            try await wait(for: "its end") { await test.cluster.recover(grace: .zero).branches.map(\.settlement) == ["rolled_back"] }
            try await test.expectUntouched()
        }
    }

    @Test("a coordinator that goes on after recovery has rolled its branches back is told so, and nothing is half done")
    func lateDecision() async throws {
        try await withCluster { test in
            let other = try test.another()
            defer { other.close() }
            let error = try await Failpoints.withArmed("before_decision=hold") {
                let task = Task { try await test.transfer() }
                await Failpoints.held(.beforeDecision)
                let report = await Task { await other.recover(grace: .zero) }.value
                #expect(report.branches.map(\.settlement) == ["rolled_back"])
                Failpoints.release(.beforeDecision)
                return await refusal { try await task.value }
            }
            #expect(error?.effect == .rolledBack && error?.sqlState == .uniqueViolation)
            try await test.expectUntouched()
            _ = try await test.transfer()
            try await test.expectMoved()
        }
    }

    @Test("a coordinator that is slow after its decision meets recovery, and both agree")
    func slowAfterDecision() async throws {
        try await withCluster { test async throws in
            let other = try test.another()
            defer { other.close() }
            try await Failpoints.withArmed("after_decision=hold") {
                let task = Task { try await test.transfer() }
                await Failpoints.held(.afterDecision)
                #expect(await other.recover(grace: .zero).branches.map(\.settlement) == ["committed"])
                Failpoints.release(.afterDecision)
                let receipt = try await task.value
                #expect(receipt.pending.isEmpty)
            }
            try await test.expectMoved()
        }
    }

    @Test("recovery of the process that runs a transaction leaves it alone")
    func ownTransactions() async throws {
        try await withCluster { test in
            try await Failpoints.withArmed("before_decision=hold") {
                let task = Task { try await test.transfer() }
                await Failpoints.held(.beforeDecision)
                #expect(await test.cluster.recover(grace: .zero).branches.isEmpty)
                Failpoints.release(.beforeDecision)
                _ = try await task.value
            }
            try await test.expectMoved()
        }
    }

    @Test("a branch that is gone without its row, though the transaction committed, needs attention")
    func lost() async throws {
        try await withCluster { test in
            let other = try test.another()
            defer { other.close() }
            let id = TransactionID.fresh()
            try await test.leavePrepared(id)
            try await test.decide(id)
            try await Failpoints.withArmed("recovery_before_finish=hold") {
                let task = Task { await other.recover(grace: .zero) }
                await Failpoints.held(.recoveryBeforeFinish)
                try await sql(try test.conninfo("n2"), "ROLLBACK PREPARED '\(try test.gid(id, "n2", commitPoint: "n1"))'")
                Failpoints.release(.recoveryBeforeFinish)
                let report = await task.value
                #expect(report.branches.map(\.settlement) == ["lost"] && report.needsAttention)
            }
        }
    }

    @Test("run() settles what is left, in any number of loops, and ends when it is cancelled")
    func loops() async throws {
        try await withCluster(
            2,
            {
                $0.recoveryGrace = .zero
                $0.recoveryInterval = .milliseconds(50)
            }
        ) { test in
            let other = try test.another()
            defer { other.close() }
            let loops = [test.cluster, test.cluster, other].map { cluster in Task { try await cluster.run() } }
            for index in 1...10 {
                let id = TransactionID.fresh()
                try await test.leavePrepared(id, account: index)
                // Three loops without a grace time may well roll it back between its two halves. Then it cannot be decided any more.
                if index % 2 == 0 { _ = try? await test.decide(id, account: index) }
            }
            try await wait(for: "recovery") { try await test.prepared().isEmpty }
            for loop in loops { loop.cancel() }
            for loop in loops { _ = await loop.result }
            #expect(try await test.total() == test.expectedTotal)
        }
    }

    @Test("loops of one cluster object that pause together all end")
    func pausingLoops() async throws {
        try await withCluster(1, { $0.recoveryInterval = .milliseconds(20) }) { test in
            let runtime = TransactionRuntime.of(test.cluster)
            for _ in 0..<10 {
                await withTaskGroup { group in
                    for _ in 0..<4 { group.addTask { await runtime.pause(for: .milliseconds(20), after: runtime.wakes) } }
                }
            }
        }
    }
}
