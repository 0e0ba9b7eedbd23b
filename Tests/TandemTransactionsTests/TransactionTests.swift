import TandemCluster
import TandemCore
import TandemFailpoints
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemTransactions

@Suite("A transaction over real nodes")
struct TransactionTests {
    @Test("commits on all of its nodes, with a row on each", arguments: Acknowledgement.allCases)
    func commits(acknowledgement: Acknowledgement) async throws {
        try await withCluster(3) { test in
            let receipt = try await test.cluster.transaction(options { $0.acknowledgement = acknowledgement }) { tx in
                for (node, amount) in [("n1", -20), ("n2", 5), ("n3", 15)] as [(NodeName, Int)] {
                    try await tx[node].execute("UPDATE account SET balance = balance + \(amount) WHERE id = 1", rows: 1...1)
                }
                return tx.id
            }
            #expect(receipt.value == receipt.transaction)
            if acknowledgement == .applied { #expect(receipt.pending.isEmpty) }
            try await wait(for: "phase two") { try await test.prepared().isEmpty }
            #expect(try await test.balance("n1", 1) == 980)
            #expect(try await test.balance("n2", 1) == 1005)
            #expect(try await test.balance("n3", 1) == 1015)
            for node: NodeName in ["n1", "n2", "n3"] { #expect(try await test.row(receipt.transaction, node) == "W") }
        }
    }

    @Test("rolls back on all nodes when the body throws, and the body's error comes out as it is")
    func ownError() async throws {
        try await withCluster { test in
            let error = await #expect(throws: OwnError.self) {
                try await test.cluster.transaction { tx in
                    try await tx["n1"].execute("UPDATE account SET balance = 0 WHERE id = 1")
                    try await tx["n2"].execute("UPDATE account SET balance = 0 WHERE id = 1")
                    throw OwnError(number: 7)
                }
            }
            #expect(error == OwnError(number: 7))
            try await test.expectUntouched()
            _ = try await test.transfer()
        }
    }

    @Test("a failed statement comes out with its SQLSTATE and constraint, and rolls everything back")
    func failedStatement() async throws {
        try await withCluster { test in
            let error = await refusal { try await test.transfer(5000) }
            #expect(error?.code == .statementFailed && error?.sqlState == .checkViolation && error?.constraint == "account_balance_check")
            #expect(error?.node == "n1" && error?.effect == .rolledBack && error?.isRetrySafe == false)
            try await test.expectUntouched()
        }
    }

    @Test("a body that swallows a statement's error ends rolled back, with that error as its cause")
    func swallowed() async throws {
        try await withCluster { test in
            let error = await refusal {
                try await test.cluster.transaction { tx in
                    try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1")
                    _ = try? await tx["n2"].execute("SELECT 1/0")
                }
            }
            #expect(error?.effect == .rolledBack && error?.sqlState?.rawValue == "22012")
            #expect((error?.cause as? TandemError)?.node == "n2")
            try await test.expectUntouched()
        }
    }

    @Test("a body that swallows an error of a branch that only reads ends rolled back, too")
    func swallowedRead() async throws {
        try await withCluster(1) { test in
            let error = await refusal {
                try await test.cluster.transaction(options { $0.isReadOnly = true }) { tx in _ = try? await tx["n1"].execute("SELECT 1/0") }
            }
            #expect(error?.effect == .rolledBack)
        }
    }

    @Test("with one writer is one plain commit, and nothing is prepared")
    func singleWriter() async throws {
        try await withCluster { test in
            let receipt = try await Failpoints.withArmed("before_prepare=error") {
                let receipt = try await test.cluster.transaction { tx in
                    try await tx["n2"].execute("UPDATE account SET balance = balance + 1 WHERE id = 1", rows: 1...1)
                    return try await tx["n1"].query("SELECT count(*) FROM account", as: Int.self)
                }
                return receipt
            }
            #expect(receipt.value.first == TestCluster.accounts)
            #expect(try await test.balance("n2", 1) == 1001)
            #expect(try await test.row(receipt.transaction, "n2") == "W")
            #expect(try await test.row(receipt.transaction, "n1") == nil)
        }
    }

    @Test("that only reads leaves no row and nothing prepared", arguments: [false, true], Isolation.allCases)
    func readers(isReadOnly: Bool, isolation: Isolation) async throws {
        try await withCluster { test in
            let body = options {
                $0.isReadOnly = isReadOnly
                $0.isolation = isolation
            }
            let receipt = try await test.cluster.transaction(body) { tx in
                let one = try await tx["n1"].query("SELECT sum(balance) FROM account", as: Int.self)
                let two = try await tx["n2"].query("SELECT sum(balance) FROM account", as: Int.self)
                return one + two
            }
            #expect(receipt.value.reduce(0, +) == test.expectedTotal)
            #expect(try await test.count("n1", "tandem.branch") == 0)
            #expect(try await test.prepared() == [])
        }
    }

    @Test("a branch that a function wrote to is no reader")
    func hiddenWriter() async throws {
        try await withCluster { test in
            for node: NodeName in ["n1", "n2"] {
                try await test.value(
                    node, "CREATE FUNCTION give(int) RETURNS int LANGUAGE sql AS 'UPDATE account SET balance = balance + $1 WHERE id = 1 RETURNING balance'")
                try await test.value(node, "ALTER FUNCTION give(int) OWNER TO tandem")
            }
            let receipt = try await test.cluster.transaction { tx in
                _ = try await tx["n1"].query("SELECT give(-10)", as: Int.self)
                _ = try await tx["n2"].query("SELECT give(10)", as: Int.self)
            }
            try await test.expectMoved()
            #expect(try await test.row(receipt.transaction, "n2") == "W")
        }
    }

    @Test("the lock of a branch that only reads is held until the last COMMIT PREPARED has been answered")
    func readersLock() async throws {
        try await withCluster(3) { test in
            try await Failpoints.withArmed("after_commit_prepared=hold") {
                let task = Task {
                    try await test.cluster.transaction { tx in
                        _ = try await tx["n3"].query("SELECT pg_advisory_xact_lock(7)::text", as: String.self)
                        try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1")
                        try await tx["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = 1")
                    }
                }
                await Failpoints.held(.afterCommitPrepared)
                #expect(try await test.value("n3", "SELECT pg_try_advisory_lock(7)") == "f")
                Failpoints.release(.afterCommitPrepared)
                _ = try await task.value
                #expect(try await test.value("n3", "SELECT pg_try_advisory_lock(7)") == "t")
            }
        }
    }

    @Test("a serializable transaction whose reader fails at its COMMIT is rolled back everywhere")
    func serializableReader() async throws {
        try await withCluster { test async throws in
            let body = options { $0.isolation = .serializable }
            let error = await refusal {
                try await test.cluster.transaction(body) { tx in
                    // The reader of n1 sees a batch as closed and a receipt as missing: the read-only anomaly, which SSI ends by failing somebody.
                    _ = try await tx["n1"].query("SELECT balance FROM account WHERE id IN (1, 2)", as: Int.self)
                    let other = try await test.session("n1")
                    try await other.run("BEGIN ISOLATION LEVEL SERIALIZABLE")
                    try await other.run("SELECT balance FROM account WHERE id IN (1, 2)")
                    try await other.run("UPDATE account SET balance = 1 WHERE id = 1")
                    try await tx["n1"].execute("UPDATE account SET balance = 1 WHERE id = 2")
                    try await tx["n2"].execute("UPDATE account SET balance = 1 WHERE id = 1")
                    try await other.run("COMMIT")
                    await other.close()
                }
            }
            #expect(error?.code == .serializationFailure && error?.effect == .rolledBack && error?.isRetrySafe == true)
            #expect(try await test.prepared() == [])
            #expect(try await test.balance("n2", 1) == TestCluster.balance)
        }
    }

    @Test("that only reads is refused when a session was lost before its COMMIT", arguments: [false, true])
    func lostReader(isReadOnly: Bool) async throws {
        try await withCluster(1) { test in
            let body = options {
                $0.isReadOnly = isReadOnly
                $0.isolation = .serializable
            }
            let error = await refusal {
                try await test.cluster.transaction(body) { tx in
                    let backend = try await tx["n1"].query("SELECT pg_backend_pid()", as: Int.self).first ?? 0
                    let connection = try #require(tx.branches.first?.connection)
                    try await test.value("n1", "SELECT pg_terminate_backend(\(backend))")
                    try await wait(for: "the end of the session") { await confined(to: connection.reactor) { connection.isClosed } }
                }
            }
            #expect(error?.effect == .rolledBack && error?.isRetrySafe == true)
        }
    }

    // MARK: Refused

    @Test(
        "a statement that would end or divide the transaction is refused before it is sent",
        arguments: [
            "BEGIN", "COMMIT", "/* now */ COMMIT", "-- now\nROLLBACK", "; END", "ABORT", "PREPARE TRANSACTION 'x'", "COMMIT PREPARED 'x'",
            "ROLLBACK PREPARED 'x'", "SAVEPOINT s", "RELEASE SAVEPOINT s", "ROLLBACK TO s", "START TRANSACTION", "SET TRANSACTION READ ONLY",
            "commit and chain",
        ])
    func refused(text: String) async throws {
        try await withCluster(1) { test in
            let receipt = try await test.cluster.transaction { tx in
                try await tx["n1"].execute("UPDATE account SET balance = balance + 1 WHERE id = 1")
                let error = await refusal { try await tx["n1"].execute(SQL(text, parameters: [])) }
                #expect(error?.code == .statementRefused && error?.node == "n1" && error?.nextStep.isEmpty == false)
                // Nothing was sent, so the transaction goes on.
                try await tx["n1"].execute("UPDATE account SET balance = balance + 1 WHERE id = 1")
            }
            #expect(try await test.balance("n1", 1) == 1002)
            #expect(try await test.row(receipt.transaction, "n1") == "W")
        }
    }

    @Test("a COMMIT hidden in a block of code is refused by the server, and nothing is half committed")
    func hiddenCommit() async throws {
        try await withCluster { test in
            let error = await refusal {
                try await test.cluster.transaction { tx in
                    try await tx["n2"].execute("UPDATE account SET balance = 0 WHERE id = 1")
                    try await tx["n1"].execute("UPDATE account SET balance = 0 WHERE id = 1")
                    try await tx["n1"].execute("DO $$ BEGIN COMMIT; END $$")
                }
            }
            #expect(error?.sqlState == .invalidTransactionTermination && error?.effect == .rolledBack)
            try await test.expectUntouched()
        }
    }

    @Test("several statements in one text are refused by the server, and nothing is half committed")
    func severalStatements() async throws {
        try await withCluster { test in
            let error = await refusal {
                try await test.cluster.transaction { tx in
                    try await tx["n2"].execute("UPDATE account SET balance = 0 WHERE id = 1")
                    try await tx["n1"].execute("SELECT 1; COMMIT; BEGIN")
                }
            }
            #expect(error?.effect == .rolledBack)
            try await test.expectUntouched()
        }
    }

    @Test("a session that user SQL moved out of its transaction commits nothing, whatever it did to hide it")
    func forgedMark() async throws {
        try await withCluster { test in
            let error = await refusal {
                try await test.cluster.transaction { tx in
                    try await tx["n1"].execute("UPDATE account SET balance = 0 WHERE id = 1")
                    try await tx["n2"].execute("UPDATE account SET balance = 0 WHERE id = 1")
                    try await tx["n2"].execute("SET application_name = 'mine'")
                }
            }
            #expect(error?.effect == .rolledBack && error?.code == .transactionEnded)
            try await test.expectUntouched()
        }
    }

    @Test("a violated expectation rolls back, and says how many rows there were")
    func expectation() async throws {
        try await withCluster { test in
            let error = await refusal {
                try await test.cluster.transaction { tx in
                    try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1", rows: 1...1)
                    try await tx["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = 4711", rows: 1...1)
                }
            }
            #expect(error?.code == .expectationViolated && error?.node == "n2" && error?.effect == .rolledBack)
            #expect(error?.message.contains("0 rows") == true)
            try await test.expectUntouched()
        }
    }

    @Test("a body that swallows a violated expectation ends rolled back")
    func swallowedExpectation() async throws {
        try await withCluster { test in
            let error = await refusal {
                try await test.cluster.transaction { tx in
                    try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1")
                    _ = try? await tx["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = 4711", rows: 1...1)
                }
            }
            #expect(error?.code == .expectationViolated)
            try await test.expectUntouched()
        }
    }

    @Test("an unknown node, and one that was not declared, are refused")
    func nodes() async throws {
        try await withCluster { test in
            #expect(await refusal { try await test.cluster.transaction { try await $0["n9"].execute("SELECT 1") } }?.code == .unknownNode)
            #expect(await refusal { try await test.cluster.transaction(options { $0.nodes = ["n9"] }) { _ in } }?.code == .unknownNode)
            let only = options { $0.nodes = ["n1"] }
            #expect(await refusal { try await test.cluster.transaction(only) { try await $0["n2"].execute("SELECT 1") } }?.code == .undeclaredNode)
        }
    }

    @Test("a transaction that is used after its end refuses everything")
    func afterTheEnd() async throws {
        try await withCluster(1) { test in
            let receipt = try await test.cluster.transaction { $0 }
            #expect(await refusal { try await receipt.value["n1"].execute("SELECT 1") }?.code == .transactionEnded)
        }
    }

    @Test("overlapping calls on one branch queue and never interleave")
    func overlapping() async throws {
        try await withCluster(1) { test in
            _ = try await test.cluster.transaction { tx in
                try await withThrowingTaskGroup { group in
                    for _ in 0..<20 { group.addTask { try await tx["n1"].execute("UPDATE account SET balance = balance + 1 WHERE id = 1", rows: 1...1) } }
                    try await group.waitForAll()
                }
            }
            #expect(try await test.balance("n1", 1) == 1020)
        }
    }

    // MARK: Savepoints

    @Test("a savepoint that succeeds keeps its part, one that fails undoes its part only")
    func savepoints() async throws {
        try await withCluster { test in
            _ = try await test.cluster.transaction { tx in
                try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1")
                try await tx["n2"].savepoint { try await $0.execute("UPDATE account SET balance = balance + 10 WHERE id = 1") }
                let error = await refusal {
                    try await tx["n2"].savepoint { branch in
                        try await branch.execute("UPDATE account SET balance = 0 WHERE id = 1")
                        try await branch.execute("SELECT 1/0")
                    }
                }
                #expect(error?.sqlState?.rawValue == "22012")
                await #expect(throws: OwnError.self) {
                    try await tx["n2"].savepoint { branch in
                        try await branch.execute("UPDATE account SET balance = 0 WHERE id = 1")
                        throw OwnError(number: 1)
                    }
                }
            }
            try await test.expectMoved()
        }
    }

    @Test("savepoints nest, and a failure that a savepoint's body swallows undoes that savepoint")
    func nestedSavepoints() async throws {
        try await withCluster(1) { test in
            _ = try await test.cluster.transaction { tx in
                try await tx["n1"].savepoint { outer in
                    try await outer.execute("UPDATE account SET balance = balance + 1 WHERE id = 1")
                    _ = try? await outer.savepoint { inner in
                        try await inner.execute("UPDATE account SET balance = balance + 10 WHERE id = 1")
                        _ = try? await inner.execute("SELECT 1/0")
                    }
                    try await outer.execute("UPDATE account SET balance = balance + 100 WHERE id = 1")
                }
            }
            #expect(try await test.balance("n1", 1) == 1101)
        }
    }

    // MARK: Retries

    @Test("a serialization failure is retried with a new run of the body and a new id")
    func retries() async throws {
        try await withCluster(1) { test in
            let ids = Locked<[TransactionID]>([])
            let body = options {
                $0.isolation = .repeatableRead
                $0.attempts = 3
            }
            let receipt = try await test.cluster.transaction(body) { tx in
                let run = ids.withLock { ids in
                    ids.append(tx.id)
                    return ids.count
                }
                _ = try await tx["n1"].query("SELECT balance FROM account WHERE id = 1", as: Int.self)
                if run == 1 { try await test.value("n1", "UPDATE account SET balance = balance + 1 WHERE id = 1") }
                try await tx["n1"].execute("UPDATE account SET balance = balance + 10 WHERE id = 1", rows: 1...1)
            }
            #expect(ids.withLock { $0.count } == 2 && ids.withLock { Set($0).count } == 2)
            #expect(ids.withLock { $0.last } == receipt.transaction)
            #expect(try await test.balance("n1", 1) == 1011)
        }
    }

    @Test("without further attempts a serialization failure comes out, safe to retry")
    func serializationFailure() async throws {
        try await withCluster(1) { test in
            let error = await refusal {
                try await test.cluster.transaction(options { $0.isolation = .repeatableRead }) { tx in
                    _ = try await tx["n1"].query("SELECT balance FROM account WHERE id = 1", as: Int.self)
                    try await test.value("n1", "UPDATE account SET balance = balance + 1 WHERE id = 1")
                    try await tx["n1"].execute("UPDATE account SET balance = balance + 10 WHERE id = 1")
                }
            }
            #expect(error?.code == .serializationFailure && error?.isRetrySafe == true && error?.effect == .rolledBack)
        }
    }

    @Test("a table that was changed between two transactions costs a retry and not the connection's future")
    func changedTable() async throws {
        try await withCluster(1, { $0.nodes[0].pool = PoolOptions(maximum: 1) }) { test in
            func columns() async throws -> Int {
                try await test.cluster.transaction(options { $0.attempts = 2 }) {
                    try await $0["n1"].query("SELECT * FROM account WHERE id = 1", decoding: Account.self).count
                }.value
            }
            #expect(try await columns() == 1)
            try await test.value("n1", "ALTER TABLE account ADD COLUMN owner text")
            #expect(try await columns() == 1)
            #expect(try await columns() == 1)
        }
    }

    private struct Account: Decodable {
        let id: Int
        let balance: Int
    }

    // MARK: Cancellation and time

    @Test("a task cancelled in the body rolls back and throws CancellationError")
    func cancelled() async throws {
        try await withCluster { test in
            let task = Task {
                try await test.cluster.transaction { tx in
                    try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1")
                    try await tx["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = 1")
                    try await tx["n2"].execute("SELECT pg_sleep(600)")
                }
            }
            try await wait(for: "the statement") {
                try await test.value("n2", "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'") == "1"
            }
            task.cancel()
            await #expect(throws: CancellationError.self) { _ = try await task.value }
            try await wait(for: "the end of both branches") {
                try await test.value(
                    "n2", "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state <> 'idle' AND pid <> pg_backend_pid()") == "0"
            }
            try await test.expectUntouched()
            _ = try await test.transfer()
        }
    }

    @Test("a task cancelled before the decision rolls back", arguments: [Failpoint.beforePrepare, .afterPrepare, .beforeDecision])
    func cancelledBeforeDecision(point: Failpoint) async throws {
        try await withCluster { test in
            try await Failpoints.withArmed("\(point.rawValue)=hold") {
                let task = Task { try await test.transfer() }
                await Failpoints.held(point)
                task.cancel()
                await #expect(throws: CancellationError.self) { _ = try await task.value }
            }
            try await test.expectUntouched()
        }
    }

    @Test(
        "a task cancelled after the decision gets its receipt",
        arguments: [Failpoint.afterDecision, .beforeCommitPrepared, .afterCommitPrepared, .beforeAcknowledgement])
    func cancelledAfterDecision(point: Failpoint) async throws {
        try await withCluster { test in
            try await Failpoints.withArmed("\(point.rawValue)=hold") {
                let task = Task { try await test.transfer() }
                await Failpoints.held(point)
                task.cancel()
                let receipt = try await task.value
                #expect(receipt.pending.isEmpty)
            }
            try await test.expectMoved()
        }
    }

    @Test("a transaction that takes too long is rolled back, and says so")
    func deadline() async throws {
        try await withCluster { test in
            let error = await refusal {
                try await test.cluster.transaction(options { $0.timeout = .seconds(5) }) { tx in
                    try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1")
                    try await tx["n2"].execute("SELECT pg_sleep(600)")
                }
            }
            #expect(error?.code == .deadlineExceeded && error?.effect == .rolledBack && error?.node == "n2")
            try await test.expectUntouched()
        }
    }

    @Test("a statement that waits too long for a lock is rolled back, safe to retry")
    func lockTimeout() async throws {
        try await withCluster(2, { $0.nodes[1].lockTimeout = .milliseconds(100) }) { test in
            let other = try await test.session("n2")
            try await other.run("BEGIN")
            try await other.run("UPDATE account SET balance = balance WHERE id = 1")
            let error = await refusal { try await test.transfer() }
            #expect(error?.sqlState == .lockNotAvailable && error?.isRetrySafe == true && error?.effect == .rolledBack)
            await other.close()
            try await test.expectUntouched()
        }
    }

    // MARK: Pools

    @Test("many transactions that touch nodes in opposite orders through small pools all finish")
    func smallPools() async throws {
        let change: (inout ClusterConfiguration) -> Void = { configuration in
            for index in configuration.nodes.indices { configuration.nodes[index].pool = PoolOptions(maximum: 2) }
        }
        try await withCluster(2, change) { test in
            try await withThrowingTaskGroup { group in
                for index in 0..<20 {
                    let order: [NodeName] = index % 2 == 0 ? ["n1", "n2"] : ["n2", "n1"]
                    group.addTask {
                        _ = try await test.cluster.transaction { tx in
                            for node in order {
                                let amount = node == "n1" ? -1 : 1
                                try await tx[node].execute("UPDATE account SET balance = balance + \(amount) WHERE id = \(index + 1)", rows: 1...1)
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            #expect(try await test.total() == test.expectedTotal)
            #expect(try await test.balance("n1", 20) == 999)
            #expect(try await test.prepared() == [])
        }
    }

    @Test("settings, locks, temporary tables and channels of one transaction do not reach the next")
    func dirtySession() async throws {
        try await withCluster(1, { $0.nodes[0].pool = PoolOptions(maximum: 1) }) { test in
            let first = try await test.cluster.transaction { tx in
                try await tx["n1"].execute("SET work_mem = '17MB'")
                try await tx["n1"].execute("SELECT pg_advisory_lock(7)")
                try await tx["n1"].execute("CREATE TEMP TABLE leaves (id int)")
                try await tx["n1"].execute("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY")
                return try await tx["n1"].query("SELECT pg_backend_pid(), current_setting('work_mem')", as: Int.self, String.self)
            }
            let second = try await test.cluster.transaction { tx in
                try await tx["n1"].execute("UPDATE account SET balance = balance + 1 WHERE id = 1", rows: 1...1)
                return try await tx["n1"].query(
                    """
                    SELECT pg_backend_pid(), current_setting('work_mem'), to_regclass('pg_temp.leaves') IS NULL,
                           (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND pid = pg_backend_pid())
                    """, as: Int.self, String.self, Bool.self, Int.self)
            }
            let one = try #require(first.value.first), two = try #require(second.value.first)
            #expect(one.0 == two.0 && one.1 == "17MB" && two.1 != "17MB" && two.2 && two.3 == 0)
        }
    }

    // MARK: Identity of transactions

    @Test("an id that has been used is refused, and what it did stays")
    func duplicate() async throws {
        try await withCluster { test in
            let first = try await test.transfer()
            let error = await refusal { try await test.transfer(10, options { $0.id = first.transaction }) }
            #expect(error?.code == .duplicateTransaction && error?.isRetrySafe == false)
            try await test.expectMoved()
        }
    }

    @Test("an id that is under way in this process is refused")
    func duplicateUnderWay() async throws {
        try await withCluster { test in
            try await Failpoints.withArmed("after_begin=hold") {
                let id = TransactionID.fresh()
                let task = Task { try await test.transfer(10, options { $0.id = id }) }
                await Failpoints.held(.afterBegin)
                #expect(await refusal { try await test.transfer(10, options { $0.id = id }) }?.code == .duplicateTransaction)
                Failpoints.release(.afterBegin)
                _ = try await task.value
            }
            try await test.expectMoved()
        }
    }

    @Test("a gid that somebody else uses is not touched, and the transaction is rolled back")
    func gidInUse() async throws {
        try await withCluster { test in
            let id = TransactionID.fresh()
            let gid = try test.gid(id, "n2", commitPoint: "n1")
            let other = try await test.session("n2")
            try await other.run("BEGIN")
            try await other.run("UPDATE account SET balance = balance + 1 WHERE id = 50")
            try await other.run("PREPARE TRANSACTION '\(gid)'")
            let error = await refusal { try await test.transfer(10, options { $0.id = id }) }
            #expect(error?.code == .duplicateTransaction && error?.sqlState == .duplicateObject && error?.effect == .rolledBack)
            #expect(try await test.prepared() == [gid.description])
            try await other.run("ROLLBACK PREPARED '\(gid)'")
            await other.close()
            try await test.expectUntouched()
        }
    }
}
