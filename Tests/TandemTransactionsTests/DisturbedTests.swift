import TandemCluster
import TandemCore
import TandemFailpoints
import TandemLocal
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemTransactions

@Suite("Transactions on servers that are killed, stopped and starved", .serialized, .timeLimit(.minutes(5)))
struct DisturbedTests {
    // MARK: Slots

    @Test("max_prepared_transactions = 0 is said to be the cause, and one writer still commits")
    func disabled() async throws {
        try await withDisturbedCluster { test in
            try await test.local.restart("n2", settings: ["max_prepared_transactions": "0"])
            let error = await refusal { try await test.transfer() }
            #expect(error?.code == .preparedTransactionsDisabled && error?.node == "n2" && error?.effect == .rolledBack && error?.isRetrySafe == false)
            try await test.expectUntouched()
            _ = try await test.cluster.transaction { try await $0["n2"].execute("UPDATE account SET balance = 1 WHERE id = 1", rows: 1...1) }
            #expect(try await test.balance("n2", 1) == 1)
            try await test.local.restart("n2", settings: ["max_prepared_transactions": "200"])
        }
    }

    @Test("slots that others have taken are a clean refusal, safe to retry")
    func exhausted() async throws {
        try await withDisturbedCluster { test in
            try await test.local.restart("n2", settings: ["max_prepared_transactions": "2"])
            let session = try await test.session("n2")
            for index in 1...2 {
                try await session.run("BEGIN")
                try await session.run("UPDATE account SET balance = balance WHERE id = \(index + 10)")
                try await session.run("PREPARE TRANSACTION 'other_\(index)'")
            }
            let error = await refusal { try await test.transfer() }
            #expect(error?.code == .preparedSlotsExhausted && error?.node == "n2" && error?.effect == .rolledBack && error?.isRetrySafe == true)
            #expect(try await test.prepared() == ["other_1", "other_2"])
            for index in 1...2 { try await session.run("ROLLBACK PREPARED 'other_\(index)'") }
            await session.close()
            _ = try await test.transfer()
            try await test.expectMoved()
            try await test.local.restart("n2", settings: ["max_prepared_transactions": "200"])
        }
    }

    @Test("many transactions of one process share few slots without a failure")
    func fewSlots() async throws {
        try await withDisturbedCluster(2, { $0.preparedReserve = 0 }) { test in
            try await test.local.restart("n2", settings: ["max_prepared_transactions": "2"])
            try await withThrowingTaskGroup { group in
                for index in 1...20 { group.addTask { _ = try await test.transfer(1, account: index) } }
                try await group.waitForAll()
            }
            #expect(try await test.prepared() == [])
            #expect(try await test.balance("n2", 20) == 1001)
            try await test.local.restart("n2", settings: ["max_prepared_transactions": "200"])
        }
    }

    // MARK: A cluster that is closed

    @Test("a cluster that is closed lets what is under way end, and takes nothing new")
    func closing() async throws {
        try await withDisturbedCluster { test in
            let cluster = try test.another()
            let receipt = try await Failpoints.withArmed("after_prepare=hold") {
                let task = Task { try await test.transfer(on: cluster) }
                await Failpoints.held(.afterPrepare)
                cluster.close()
                #expect(await refusal { try await test.transfer(on: cluster) }?.code == .connectionClosed)
                Failpoints.release(.afterPrepare)
                return try await task.value
            }
            #expect(receipt.pending == [])
            try await test.expectMoved()
            try await wait(for: "the connections' end") {
                try await test.value(
                    "n1",
                    "SELECT count(DISTINCT objid) FROM pg_locks WHERE locktype = 'advisory' AND objid = \(UInt32(bitPattern: cluster.presence.number))") == "0"
            }
        }
    }

    // MARK: Nodes that stop

    @Test("a node that hangs after the decision is named as pending, and recovery finishes it later")
    func pendingNode() async throws {
        try await withDisturbedCluster { test in
            try await Failpoints.withArmed("after_decision=hold") {
                let task = Task { try await test.transfer(10, options { $0.timeout = .seconds(4) }) }
                await Failpoints.held(.afterDecision)
                try await test.local.pause("n2")
                Failpoints.release(.afterDecision)
                let receipt = try await task.value
                #expect(receipt.pending == ["n2"])
                try test.local.resume("n2")
            }
            // The server may still be about to answer the message that nobody waits for any more.
            try await wait(for: "recovery") {
                _ = await test.cluster.recover(grace: .zero)
                return try await test.prepared().isEmpty
            }
            try await test.expectMoved()
        }
    }

    @Test("a member that is killed before its vote rolls the transaction back everywhere")
    func killedBeforeVote() async throws {
        try await withDisturbedCluster { test in
            let error = try await Failpoints.withArmed("before_prepare=hold") {
                let task = Task { try await test.transfer() }
                await Failpoints.held(.beforePrepare)
                try await test.local.kill("n2")
                Failpoints.release(.beforePrepare)
                return await refusal { try await task.value }
            }
            #expect(error?.effect == .rolledBack && error?.node == "n2")
            try await test.local.start("n2")
            _ = await test.cluster.recover(grace: .zero)
            try await test.expectUntouched()
            _ = try await test.transfer()
        }
    }

    @Test("a member that is killed after its vote keeps it, and is finished when it is back")
    func killedAfterVote() async throws {
        try await withDisturbedCluster { test in
            try await Failpoints.withArmed("after_decision=hold") {
                let task = Task { try await test.transfer(10, options { $0.timeout = .seconds(3) }) }
                await Failpoints.held(.afterDecision)
                try await test.local.kill("n2")
                Failpoints.release(.afterDecision)
                let receipt = try await task.value
                #expect(receipt.pending == ["n2"])
            }
            try await test.local.start("n2")
            #expect(await test.cluster.recover(grace: .zero).branches.map(\.settlement) == ["committed"])
            try await test.expectMoved()
        }
    }

    @Test("B4: a member that is killed while COMMIT PREPARED is durable and not answered is committed, and nobody takes the missing gid for anything else")
    func killedWhileFinishing() async throws {
        try await withDisturbedCluster { test in
            let receipt = try await Failpoints.withArmed("before_commit_prepared=hold") {
                let task = Task { try await test.transfer(10, options { $0.timeout = .seconds(5) }) }
                await Failpoints.held(.beforeCommitPrepared)
                try await test.withGhost("n2") {
                    Failpoints.release(.beforeCommitPrepared)
                    _ = try await test.waitingBackend("n2")
                    try await test.local.kill("n2")
                    // The setting is in the server's own file: it goes with it.
                    try await test.local.start("n2")
                }
                return try await task.value
            }
            try await wait(for: "recovery") {
                let report = await test.cluster.recover(grace: .zero)
                #expect(!report.needsAttention)
                return try await test.prepared().isEmpty
            }
            #expect(try await test.cluster.outcome(of: receipt.transaction, within: .seconds(10)) == .committed)
            #expect(try await test.cluster.audit().findings.isEmpty)
            try await test.expectMoved()
        }
    }

    @Test("B9: a node that is stopped holds up its own transactions until their time is over, told truthfully, and no others")
    func stopped() async throws {
        try await withDisturbedCluster(3, { for index in $0.nodes.indices { $0.nodes[index].connectTimeout = .seconds(2) } }) { test in
            _ = try await test.transfer(account: 9)
            try await test.local.pause("n2")
            let error = await refusal { try await test.transfer(10, options { $0.timeout = .seconds(1) }) }
            #expect(error?.effect == .rolledBack && error?.isRetrySafe == true)
            let other = try await test.cluster.transaction { tx in
                try await tx["n1"].execute("UPDATE account SET balance = balance - 5 WHERE id = 3", rows: 1...1)
                try await tx["n3"].execute("UPDATE account SET balance = balance + 5 WHERE id = 3", rows: 1...1)
            }
            #expect(other.pending.isEmpty)
            try test.local.resume("n2")
            _ = await test.cluster.recover(grace: .zero)
            try await wait(for: "the end of every branch") {
                _ = await test.cluster.recover(grace: .zero)
                return try await test.prepared().isEmpty
            }
            try await test.expectUntouched()
        }
    }

    @Test("a commit point that is killed before the decision rolls the transaction back everywhere")
    func commitPointKilled() async throws {
        try await withDisturbedCluster { test in
            let error = try await Failpoints.withArmed("before_decision=hold") {
                let task = Task { try await test.transfer() }
                await Failpoints.held(.beforeDecision)
                try await test.local.kill("n1")
                Failpoints.release(.beforeDecision)
                return await refusal { try await task.value }
            }
            #expect(error?.node == "n1")
            try await test.local.start("n1")
            _ = await test.cluster.recover(grace: .zero)
            // On a busy machine the decision may be sent before the end of the connection is noticed: then nobody knows until the node is back.
            if case .inDoubt(let id) = error?.effect {
                #expect(try await test.cluster.outcome(of: id, within: .seconds(20)) == .rolledBack)
            } else {
                #expect(error?.effect == .rolledBack)
            }
            try await test.expectUntouched()
        }
    }

    @Test("while the commit point cannot be reached a branch is undecided, and it is settled when it is back")
    func commitPointAway() async throws {
        try await withDisturbedCluster { test in
            let id = TransactionID.fresh()
            try await test.leavePrepared(id)
            try await test.decide(id)
            #expect(await test.cluster.recover(grace: .seconds(3600), isDryRun: true).unreachable.isEmpty)
            try await test.local.kill("n1")
            let report = await test.cluster.recover(grace: .zero)
            #expect(report.unreachable.map(\.node) == ["n1"])
            #expect(report.branches.map(\.settlement) == ["undecided"] && report.remaining == 1)
            try await test.local.start("n1")
            #expect(await test.cluster.recover(grace: .zero).branches.map(\.settlement) == ["committed"])
            try await test.expectMoved()
        }
    }

    // MARK: Replies that are lost

    @Test("a session that is ended between its durable PREPARE and the reply is an unknown vote, found by recovery (B6)")
    func endedDuringPrepare() async throws {
        try await withDisturbedCluster { test in
            let error = try await test.withGhost("n2") {
                let task = Task { try await test.transfer() }
                let backend = try await test.waitingBackend("n2")
                try await test.value("n1", "SELECT 1")
                try await sql(try test.superuser("n2"), "SELECT pg_terminate_backend(\(backend))")
                return await refusal { try await task.value }
            }
            #expect(error?.effect == .rolledBack && error?.node == "n2" && error?.sqlState == .adminShutdown)
            #expect(try await test.prepared().count == 1)
            #expect(await test.cluster.recover(grace: .zero).branches.map(\.settlement) == ["rolled_back"])
            try await test.expectUntouched()
        }
    }

    @Test("a vote whose wait for the standby was cut short is no yes (B8)")
    func unreplicatedVote() async throws {
        try await withDisturbedCluster { test in
            let error = try await test.withGhost("n2") {
                let task = Task { try await test.transfer() }
                let backend = try await test.waitingBackend("n2")
                try await sql(try test.superuser("n2"), "SELECT pg_cancel_backend(\(backend))")
                return await refusal { try await task.value }
            }
            #expect(error?.effect == .rolledBack)
            _ = await test.cluster.recover(grace: .zero)
            try await test.expectUntouched()
        }
    }

    @Test("a decision whose wait for the standby was cut short is asked for, and acknowledged only once it is safe (B8)")
    func unreplicatedDecision() async throws {
        try await withDisturbedCluster { test in
            let task = try await test.withGhost("n1") {
                let task = Task { try await test.transfer() }
                let backend = try await test.waitingBackend("n1")
                try await sql(try test.superuser("n1"), "SELECT pg_cancel_backend(\(backend))")
                // The question after it writes, too, and waits for the standby as well.
                try await wait(for: "the question") {
                    try await test.value(
                        "n1",
                        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'SyncRep' AND pid <> \(backend)") != "0"
                }
                return task
            }
            #expect(try await task.value.pending.isEmpty)
            try await test.expectMoved()
        }
    }

    @Test("a decision whose reply is lost with its session is asked for, and told as it is (A6)")
    func lostDecision() async throws {
        try await withDisturbedCluster { test in
            let task = try await test.withGhost("n1") {
                let task = Task { try await test.transfer() }
                let backend = try await test.waitingBackend("n1")
                try await sql(try test.superuser("n1"), "SELECT pg_terminate_backend(\(backend))")
                return task
            }
            #expect(try await task.value.pending.isEmpty)
            try await test.expectMoved()
        }
    }

    @Test("a lost reply to the decision is asked for also when the caller's task is cancelled meanwhile")
    func lostDecisionAndCancelled() async throws {
        try await withDisturbedCluster { test in
            let task = try await test.withGhost("n1") {
                let task = Task { try await test.transfer() }
                let backend = try await test.waitingBackend("n1")
                task.cancel()
                try await sql(try test.superuser("n1"), "SELECT pg_terminate_backend(\(backend))")
                return task
            }
            #expect(try await task.value.pending.isEmpty)
            try await test.expectMoved()
        }
    }

    @Test("a COMMIT PREPARED whose reply is lost is proven by the branch's row (B7)")
    func lostCommitPrepared() async throws {
        try await withDisturbedCluster { test in
            try await Failpoints.withArmed("before_commit_prepared=hold") {
                let task = Task { try await test.transfer() }
                await Failpoints.held(.beforeCommitPrepared)
                try await test.withGhost("n2") {
                    Failpoints.release(.beforeCommitPrepared)
                    let backend = try await test.waitingBackend("n2")
                    try await sql(try test.superuser("n2"), "SELECT pg_terminate_backend(\(backend))")
                    // Whatever is pending, it is committed and stays so.
                    _ = try await task.value
                }
            }
            _ = await test.cluster.recover(grace: .zero)
            try await test.expectMoved()
        }
    }
}
