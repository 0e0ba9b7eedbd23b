import Synchronization
import TandemCluster
import TandemCore
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemTransactions

/// Rows of the fault matrix in which a node ends a session, or somebody else acts on it.
@Suite("Faults of sessions")
struct NodeFaultTests {
    private static let branches = "pg_stat_activity WHERE application_name LIKE 'tandem:%' AND datname = current_database()"

    @Test("B5: a session that is ended before its vote rolls the transaction back everywhere, and the next one finds a new session")
    func terminated() async throws {
        try await withCluster { test in
            let error = await refusal {
                try await test.cluster.transaction { tx in
                    try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1")
                    try await tx["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = 1")
                    let ended = try await test.value("n2", "SELECT count(pg_terminate_backend(pid)) FROM \(Self.branches)")
                    #expect(ended == "1")
                }
            }
            #expect(error?.effect == .rolledBack && error?.node == "n2")
            try await test.expectUntouched()
            _ = try await test.transfer()
            try await test.expectMoved()
        }
    }

    /// How many of two transactions hold their first row.
    private final class Holding: Sendable {
        private let count = Atomic<Int>(0)
        var isComplete: Bool { count.load(ordering: .relaxed) == 2 }
        func add() { count.add(1, ordering: .relaxed) }
    }

    /// Updates a row on one node, waits until the other transaction has its own, and goes for that one.
    private func refusedTransfer(_ test: TestCluster, _ first: NodeName, _ second: NodeName, _ holding: Holding) async -> TandemError? {
        do {
            try await test.cluster.transaction { tx in
                try await tx[first].execute("UPDATE account SET balance = balance - 1 WHERE id = 1")
                holding.add()
                try await wait(for: "the other one") { holding.isComplete }
                try await tx[second].execute("UPDATE account SET balance = balance + 1 WHERE id = 1")
            }
            return nil
        } catch {
            return error as? TandemError
        }
    }

    @Test("B16: two transactions that wait for each other over two nodes are ended by lock_timeout, safe to retry, and others go on meanwhile")
    func deadlock() async throws {
        let quickly: (inout ClusterConfiguration) -> Void = { configuration in
            for index in configuration.nodes.indices { configuration.nodes[index].lockTimeout = .milliseconds(500) }
        }
        try await withCluster(2, quickly) { test in
            let holding = Holding()
            async let one = refusedTransfer(test, "n1", "n2", holding)
            async let two = refusedTransfer(test, "n2", "n1", holding)
            try await wait(for: "both") { holding.isComplete }
            _ = try await test.transfer(account: 2)
            let errors = [await one, await two].compactMap(\.self)
            #expect(!errors.isEmpty)
            #expect(errors.allSatisfy { $0.effect == .rolledBack && $0.isRetrySafe && $0.sqlState == .lockNotAvailable })
            #expect(try await test.prepared() == [])
            #expect(try await test.total() == test.expectedTotal)
        }
    }

    @Test("B17: a branch that lies idle for too long is ended by its server, and the transaction is rolled back everywhere")
    func idle() async throws {
        let quickly: (inout ClusterConfiguration) -> Void = { $0.nodes[0].idleInTransactionTimeout = .milliseconds(200) }
        try await withCluster(2, quickly) { test in
            let error = await refusal {
                try await test.cluster.transaction { tx in
                    try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1")
                    try await wait(for: "the end of the session") { try await test.count("n1", Self.branches) == 0 }
                    try await tx["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = 1")
                }
            }
            #expect(error?.effect == .rolledBack && error?.node == "n1")
            try await test.expectUntouched()
        }
    }

    @Test("B19: a branch that somebody finishes by hand as it was decided is done, for recovery and for the audit")
    func byHand() async throws {
        try await withCluster { test in
            let id = TransactionID.fresh()
            try await test.leavePrepared(id)
            try await test.decide(id)
            try await sql(try test.conninfo("n2"), "COMMIT PREPARED '\(try test.gid(id, "n2", commitPoint: "n1"))'")
            let report = await test.cluster.recover(grace: .zero)
            #expect(report.branches.isEmpty && !report.needsAttention)
            #expect(try await test.cluster.outcome(of: id, within: .seconds(20)) == .committed)
            #expect(try await test.cluster.audit().findings.isEmpty)
            try await test.expectMoved()
        }
    }

    @Test("A16: two coordinators of one configuration, each with its own recovery and no patience, never disagree")
    func twoCoordinators() async throws {
        try await withCluster(
            2,
            {
                $0.recoveryGrace = .zero; $0.recoveryInterval = .milliseconds(20)
            }
        ) { test in
            let clusters = [test.cluster, try test.another()]
            defer { clusters[1].close() }
            let runners = clusters.map { cluster in Task { try await cluster.run() } }
            defer { for runner in runners { runner.cancel() } }
            let committed = try await withThrowingTaskGroup(of: Bool.self) { group in
                for number in 0..<60 {
                    group.addTask {
                        do {
                            _ = try await test.transfer(1, account: 1 + number % 5, on: clusters[number % 2])
                            return true
                        } catch let error as TandemError where error.effect == .rolledBack {
                            // The other one's recovery was faster than its decision: a tombstone stands there.
                            return false
                        }
                    }
                }
                return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
            }
            try await wait(for: "the end of every branch") { try await test.prepared().isEmpty }
            #expect(try await test.total() == test.expectedTotal)
            let moved = try await test.value("n2", "SELECT sum(balance) - \(TestCluster.accounts * TestCluster.balance) FROM account")
            #expect(moved == String(committed))
            #expect(try await test.cluster.audit().findings.isEmpty)
        }
    }

    @Test("B24: a branch that stays prepared blocks DDL, which tx ls and the metrics' question show, and frees it when it is settled")
    func blocked() async throws {
        try await withCluster { test in
            let id = TransactionID.fresh()
            try await test.leavePrepared(id)
            let session = try await test.session("n2")
            async let altered: Void = { _ = try await session.run("ALTER TABLE account ADD COLUMN note text") }()
            try await wait(for: "the blocked statement") {
                try await test.waiting("n2") == 1
            }
            let listed = await test.cluster.transactionsInDoubt().transactions
            #expect(listed.map(\.transaction) == [id] && listed[0].branches.contains { $0.state == "prepared" })
            // Others go on, with other tables.
            _ = try await test.cluster["n2"].execute("CREATE TABLE meanwhile (id int)")
            #expect(await test.cluster.recover(grace: .zero).branches.map(\.settlement) == ["rolled_back"])
            try await altered
            await session.close()
        }
    }

    @Test("D1: a coordinator's clock that is an hour off changes nothing: the age of a branch is its server's", arguments: [-3_600_000, 3_600_000])
    func clocks(_ milliseconds: Int64) async throws {
        try await withCluster { test in
            let now = TransactionID.fresh().milliseconds
            let id = TransactionID.make(milliseconds: UInt64(Int64(now) + milliseconds), random: (.random(in: 0 ... .max), 1))
            let receipt = try await test.transfer(10, options { $0.id = id })
            #expect(receipt.transaction == id && receipt.pending.isEmpty)
            let left = TransactionID.make(milliseconds: UInt64(Int64(now) + milliseconds), random: (.random(in: 0 ... .max), 2))
            try await test.leavePrepared(left, account: 2)
            #expect(await test.cluster.recover(grace: .seconds(60)).branches.map(\.settlement) == ["too_young"])
            #expect(await test.cluster.recover(grace: .zero).branches.map(\.settlement) == ["rolled_back"])
            try await test.expectMoved()
        }
    }

    @Test("G2: a commit point that was taken out of the configuration decides nothing meanwhile: the branch is undecided, and settled when it is back")
    func removedNode() async throws {
        try await withCluster(3) { test in
            let id = TransactionID.fresh()
            try await test.leavePrepared(id)
            try await test.decide(id)
            let without = try test.another { $0.nodes.removeFirst() }
            defer { without.close() }
            for _ in 0..<2 {
                let report = await without.recover(grace: .zero)
                #expect(report.branches.map(\.settlement) == ["undecided"] && report.remaining == 1)
            }
            let listed = await without.transactionsInDoubt().transactions
            #expect(listed.map(\.transaction) == [id])
            #expect(try await without.outcome(of: id, within: .zero) == .inDoubt)
            #expect(await test.cluster.recover(grace: .zero).branches.map(\.settlement) == ["committed"])
            try await test.expectMoved()
        }
    }
}
