import Synchronization
import TandemCluster
import TandemCore
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemTransactions

@Suite("One node on its own")
struct NodeTests {
    private struct Account: Decodable, Equatable {
        let id: Int
        let balance: Int
    }

    @Test("statements commit on their own, queries are read as tuples, values and a stream")
    func statements() async throws {
        try await withCluster { test in
            let node = test.cluster["n1"]
            #expect(try await node.execute("UPDATE account SET balance = balance + \(5) WHERE id <= 2") == 2)
            #expect(try await test.balance("n1", 1) == TestCluster.balance + 5)
            let rows = try await node.query("SELECT id, balance FROM account WHERE id <= 2 ORDER BY id", as: Int.self, Int.self)
            #expect(rows.map { $0.0 } == [1, 2] && rows.map { $0.1 } == [1005, 1005])
            let accounts = try await node.query("SELECT id, balance FROM account WHERE id = 3", decoding: Account.self)
            #expect(accounts == [Account(id: 3, balance: 1000)])
            let count = try await node.stream("SELECT id FROM account") { rows in
                var count = 0
                for try await _ in rows { count += 1 }
                return count
            }
            #expect(count == TestCluster.accounts)
            // What no transaction can hold.
            try await node.execute("VACUUM account")
            #expect(try await test.count("n1", "tandem.branch") == 0)
        }
    }

    @Test("a violated expectation leaves nothing, and so does a body that throws")
    func rollsBack() async throws {
        try await withCluster { test in
            let node = test.cluster["n1"]
            let violated = await refusal { try await node.execute("UPDATE account SET balance = 0", rows: 1...1) }
            #expect(violated?.code == .expectationViolated && violated?.effect == .rolledBack && violated?.node == "n1")
            await #expect(throws: OwnError(number: 3)) {
                try await node.transaction { branch in
                    try await branch.execute("UPDATE account SET balance = 0")
                    throw OwnError(number: 3)
                }
            }
            #expect(try await test.balance("n1", 1) == TestCluster.balance)
            let count = try await node.transaction { try await $0.execute("UPDATE account SET balance = 7 WHERE id = 1") }
            #expect(count == 1)
            #expect(try await test.balance("n1", 1) == 7)
        }
    }

    @Test("a row is written only where it was asked for, or where the id is the caller's")
    func rows() async throws {
        try await withCluster { test in
            let node = test.cluster["n1"]
            let update: SQL = "UPDATE account SET balance = balance + 1 WHERE id = 1"
            try await node.transaction { try await $0.execute(update) }
            #expect(try await test.count("n1", "tandem.branch") == 0)
            try await node.transaction(isRecorded: true) { try await $0.execute(update) }
            #expect(try await test.count("n1", "tandem.branch") == 1)
            let id = TransactionID.fresh()
            try await node.transaction(options { $0.id = id }) { try await $0.execute(update) }
            #expect(try await test.row(id, "n1") == "W")
            #expect(try await test.cluster.outcome(of: id, within: .seconds(5)) == .committed)
            let twice = await refusal { try await node.transaction(options { $0.id = id }) { try await $0.execute(update) } }
            #expect(twice?.code == .duplicateTransaction && twice?.effect == .rolledBack)
            #expect(try await test.balance("n1", 1) == TestCluster.balance + 3)
        }
    }

    @Test("transaction control, an unknown node and an id that stands for unrecorded work are refused before anything is sent")
    func refused() async throws {
        try await withCluster { test in
            let control = await refusal { try await test.cluster["n1"].execute("BEGIN") }
            #expect(control?.code == .statementRefused && control?.node == "n1")
            let unknown = await refusal { try await test.cluster["n9"].query("SELECT 1", as: Int.self) }
            #expect(unknown?.code == .unknownNode && unknown?.effect == TandemError.Effect.none)
            let id = await refusal { try await test.cluster["n1"].transaction(options { $0.id = .fresh(isRecorded: false) }) { _ in } }
            #expect(id?.code == .configurationInvalid)
        }
    }

    @Test("an error of the server is rolled back and names node, SQLSTATE and constraint")
    func failing() async throws {
        try await withCluster { test in
            let error = await refusal { try await test.cluster["n2"].execute("UPDATE account SET balance = -1 WHERE id = 1") }
            #expect(error?.code == .statementFailed && error?.sqlState?.rawValue == "23514" && error?.effect == .rolledBack && error?.node == "n2")
            #expect(error?.constraint == "account_balance_check")
        }
    }

    @Test("what a statement leaves in its session does not reach the next owner")
    func traces() async throws {
        try await withCluster(
            1,
            {
                $0.reactors = 1; $0.nodes[0].pool.maximum = 1
            }
        ) { test in
            let node = test.cluster["n1"]
            try await node.execute("SET work_mem = '1234kB'")
            let rows = try await node.query("SELECT current_setting('work_mem')", as: String.self)
            #expect(rows.count == 1 && rows.first != .some("1234kB"))
        }
    }

    @Test("a statement whose session ends before its answer is in doubt, and nobody is asked about it")
    func lost() async throws {
        try await withCluster { test in
            let node = test.cluster["n1"]
            async let error = refusal { try await node.execute("UPDATE account SET balance = balance + 1 WHERE id = 1 AND pg_sleep(600) IS NOT NULL") }
            try await wait(for: "the statement") {
                try await test.value(
                    "n1", "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()") == "t"
            }
            let lost = try #require(await error)
            #expect(lost.code == .inDoubt && !lost.isRetrySafe && lost.node == "n1")
            guard case .inDoubt(let id) = lost.effect else { throw TestFailure("the effect is \(lost.effect)") }
            // A question must not write a tombstone, nor say "rolled back" because there is no row.
            #expect(try await test.cluster.outcome(of: id, within: .seconds(30)) == .inDoubt)
            let description = await refusal { try await test.cluster.describe(id) }
            let resolution = await refusal { try await test.cluster.resolve(id, as: .rolledBack, reason: "a test") }
            #expect(description?.code == .notFound && resolution?.code == .notFound)
            #expect(try await test.count("n1", "tandem.branch") == 0)
        }
    }

    @Test("a cancelled statement says CancellationError only once the server has said that it stopped")
    func cancelled() async throws {
        try await withCluster { test in
            let node = test.cluster["n1"]
            let task = Task { try await node.execute("UPDATE account SET balance = 0 WHERE pg_sleep(600) IS NOT NULL") }
            try await wait(for: "the statement") {
                try await test.value("n1", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()") == "1"
            }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            #expect(try await test.value("n1", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()") == "0")
            #expect(try await test.balance("n1", 1) == TestCluster.balance)
        }
    }

    @Test("a result of too many rows or bytes is refused and names stream; a query is rolled back, and the pool goes on")
    func tooLarge() async throws {
        try await withCluster { test in
            let node = test.cluster["n1"]
            #expect(try await node.query("SELECT i FROM generate_series(1, 10000) i", as: Int.self).count == 10_000)
            // Complete when it is seen, then far from complete.
            for sql: SQL in [
                "SELECT i FROM generate_series(1, 10001) i", "SELECT repeat('x', 2000) FROM generate_series(1, 9999)",
                "SELECT repeat('x', 100000) FROM generate_series(1, 9999)",
            ] {
                let error = await refusal { try await node.query(sql, as: String.self) }
                // A query that calls a function may have done more than read.
                guard case .inDoubt? = error?.effect else { throw TestFailure("\(String(describing: error))") }
                #expect(error?.code == .tooManyRows && error?.nextStep.contains("stream") == true)
            }
            try await test.value("n1", "CREATE TABLE many AS SELECT i FROM generate_series(1, 10001) i")
            try await test.value("n1", "GRANT SELECT ON many TO PUBLIC")
            let plain = await refusal { try await node.query("SELECT i FROM many", as: Int.self) }
            #expect(plain?.code == .tooManyRows && plain?.effect == TandemError.Effect.none)
            let branch = await refusal {
                try await test.cluster.transaction { tx in
                    try await tx["n1"].execute("UPDATE account SET balance = 0")
                    _ = try await tx["n1"].query("SELECT repeat('x', 100000) FROM generate_series(1, 9999)", as: String.self)
                }
            }
            #expect(branch?.code == .tooManyRows && branch?.effect == .rolledBack)
            #expect(try await test.balance("n1", 1) == TestCluster.balance)
            let after = try await node.query("SELECT 1", as: Int.self)
            #expect(after.first == .some(1))
        }
    }

    @Test("a commit that a deferred constraint refuses is an error at once, and nothing stays")
    func deferred() async throws {
        try await withCluster(1) { test in
            let node = test.cluster["n1"]
            try await node.execute("CREATE TABLE part (account int REFERENCES account DEFERRABLE INITIALLY DEFERRED)")
            let error = await refusal { try await node.execute("INSERT INTO part VALUES (12345)", timeout: .seconds(120)) }
            #expect(error?.sqlState == .foreignKeyViolation && error?.effect == .rolledBack)
            // On the same connection, which has to be where it was.
            let count = try await node.query("SELECT count(*) FROM part", as: Int.self)
            #expect(count.first == .some(0))
        }
    }

    @Test("an error of what commits in steps does not say that nothing happened")
    func steps() async throws {
        try await withCluster(1) { test in
            let node = test.cluster["n1"]
            try await node.execute("CREATE TABLE step (id int PRIMARY KEY)")
            let error = await refusal { try await node.execute("DO $$ BEGIN INSERT INTO step VALUES (1); COMMIT; INSERT INTO step VALUES (1); END $$") }
            guard case .inDoubt? = error?.effect else { throw TestFailure("\(String(describing: error))") }
            #expect(error?.sqlState == .uniqueViolation && error?.isRetrySafe == false)
            #expect(try await test.count("n1", "step") == 1)
            let copy = await refusal { try await node.execute("COPY (DELETE FROM step RETURNING *) TO STDOUT") }
            #expect(copy?.code == .statementRefused)
            #expect(try await test.count("n1", "step") == 1)
        }
    }

    @Test("commits are durable whatever a function of an earlier owner left in the session")
    func durable() async throws {
        try await withCluster(
            1,
            {
                $0.reactors = 1; $0.nodes[0].pool.maximum = 1
            }
        ) { test in
            let node = test.cluster["n1"]
            try await node.execute(
                "CREATE FUNCTION careless() RETURNS int LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_catalog.set_config('synchronous_' || 'commit', 'off', false); RETURN 1; END $$"
            )
            try await node.execute("CREATE TABLE seen (level text)")
            try await node.execute(
                "CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO seen VALUES (pg_catalog.current_setting('synchronous_commit')); RETURN NULL; END $$"
            )
            try await node.execute("CREATE CONSTRAINT TRIGGER look AFTER UPDATE ON account DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION look()")
            _ = try await node.query("SELECT careless()", as: Int.self)
            try await node.execute("UPDATE account SET balance = 1 WHERE id = 1")
            let levels = try await node.query("SELECT DISTINCT level FROM seen", as: String.self)
            #expect(levels.count == 1 && levels.first == .some("on"))
        }
    }
}
