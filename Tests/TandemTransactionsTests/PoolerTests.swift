import Foundation
import TandemCluster
import TandemCore
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemTransactions

/// PgBouncer with three sessions a node and many more clients: each session has many owners, and none may find what another left.
@Suite("Behind a pooler in transaction mode")
struct PoolerTests {
    @Test("bodies, transactions as data, statements, streams and COPY of many tasks share few sessions, and leave nothing in them")
    func everything() async throws {
        try await withPooledCluster { test, cluster, pooler in
            try await withThrowingTaskGroup(of: Void.self) { group in
                for client in 1...16 {
                    group.addTask {
                        for round in 1...10 {
                            switch round % 4 {
                            case 0: _ = try await test.transfer(account: client, on: cluster)
                            case 1:
                                let receipt = try await cluster.run(
                                    TransactionRequest([
                                        .init("n1", "UPDATE account SET balance = balance - 10 WHERE id = \(client)"),
                                        .init("n2", "UPDATE account SET balance = balance + 10 WHERE id = \(client)"),
                                    ]))
                                #expect(receipt.pending.isEmpty)
                            case 2:
                                try await cluster["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = \(client)")
                                try await cluster["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = \(client)", rows: 1...1)
                            default:
                                let count = try await cluster["n1"].stream("SELECT * FROM account") { try await $0.reduce(0) { count, _ in count + 1 } }
                                let bytes = try await cluster["n2"].copyOut("COPY account TO STDOUT") { try await $0.reduce(0) { $0 + $1.count } }
                                #expect(count == TestCluster.accounts && bytes > 0)
                            }
                        }
                    }
                }
                try await group.waitForAll()
            }
            for client in 1...16 { try await test.expectMoved(80, account: client) }
            // Whatever session the pooler lends: what its role starts with, and nothing more.
            let state = """
                SELECT concat_ws(' ', current_setting('lock_timeout'), current_setting('statement_timeout'), current_setting('application_name'),
                    (SELECT count(*) FROM pg_prepared_statements), (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()))
                """
            for node in ["n1", "n2"] as [NodeName] {
                var sessions: [RawSession] = []
                for _ in 0..<TestPooler.sessions {
                    sessions.append(try await RawSession.open(pooler.conninfo(node)))
                    try await sessions[sessions.count - 1].run("BEGIN")
                }
                for session in sessions {
                    #expect(try await session.value(state) == "0 0 tests 0 0")
                    await session.close()
                }
            }
        }
    }

    @Test("what would change the session is refused, what ends with the transaction is not, and what no transaction can hold runs")
    func sessions() async throws {
        try await withPooledCluster(1) { test, cluster, _ in
            let node = cluster["n1"]
            let changes = [
                "SET work_mem = '1MB'", "set session work_mem = '1MB'", "RESET ALL", "LISTEN x", "UNLISTEN *", "LOAD 'auto_explain'", "DISCARD ALL",
                "PREPARE a AS SELECT 1", "DEALLOCATE ALL", "CREATE TEMP TABLE x (a int)", "create local temporary table x (a int)", " /* x */ SET a.b = 'c'",
                "SELECT 1 AS a INTO TEMP x", "CREATE OR REPLACE TEMP VIEW x AS SELECT 1", "CREATE TABLE pg_temp.x (a int)",
                "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
            ]
            for text in changes {
                let sql = SQL(stringLiteral: text)
                #expect(await refusal { try await node.execute(sql) }?.code == .statementRefused, "\(text)")
                #expect(await refusal { try await node.transaction { try await $0.execute(sql) } }?.code == .statementRefused, "\(text)")
                #expect(await refusal { try await cluster.run(TransactionRequest([.init("n1", sql)])) }?.code == .statementRefused, "\(text)")
            }
            try await node.transaction { branch in
                try await branch.execute("SET LOCAL work_mem = '1MB'")
                try await branch.execute("SET CONSTRAINTS ALL DEFERRED")
                try await branch.execute("CREATE TEMP TABLE x (a int) ON COMMIT DROP")
                let limits = try await branch.query(
                    "SELECT current_setting('lock_timeout'), current_setting('application_name') LIKE 'tandem:%'", as: String.self, Bool.self)
                #expect(limits[0].0 == "10s" && limits[0].1)
            }
            try await node.execute("VACUUM account")
            #expect(try await node.query("SELECT current_setting('lock_timeout')", as: String.self) == ["10s"])
            #expect(try await test.value("n1", "SELECT current_setting('lock_timeout')") == "0")
        }
    }

    @Test("a cancelled statement is stopped at the server, through the pooler")
    func cancelling() async throws {
        try await withPooledCluster(1) { test, cluster, _ in
            let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
            let task = Task { try await cluster["n1"].execute("SELECT pg_sleep(600)", timeout: .seconds(600)) }
            try await wait(for: "the statement") { try await test.value("n1", sleeping) == "1" }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            try await wait(for: "its end") { try await test.value("n1", sleeping) == "0" }
        }
    }

    @Test("what no transaction can hold is stopped at the server, too, when its time is over; what can be in one waits for locks no longer than it may")
    func limits() async throws {
        try await withPooledCluster(1, { $0.nodes[0].lockTimeout = .milliseconds(200) }) { test, cluster, _ in
            let node = cluster["n1"]
            let late = await refusal { try await node.execute("DO $$ BEGIN PERFORM pg_sleep(600); END $$", timeout: .seconds(5)) }
            #expect(late?.code == .inDoubt)
            try await wait(for: "its end") {
                try await test.value("n1", "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()") == "0"
            }
            let holder = try await test.session("n1")
            try await holder.run("BEGIN")
            try await holder.run("LOCK TABLE account")
            let locked = await refusal { try await node.execute("TRUNCATE account") }
            #expect(locked?.sqlState == .lockNotAvailable && locked?.effect == .rolledBack)
            await holder.close()
        }
    }

    @Test("a pooler that leads to another server is noticed by every transaction and every question, and nothing is decided there")
    func redirected() async throws {
        try await withPooledCluster { test, cluster, pooler in
            _ = try await test.transfer(on: cluster)
            let undecided = TransactionID.fresh()
            try await test.leavePrepared(undecided, account: 2)
            // The commit point's address leads to the member.
            try pooler.redirect("n1", to: "n2")
            let session = try await RawSession.open(pooler.conninfo("n1"))
            try await wait(for: "the pooler") { try await session.value("SELECT name FROM tandem.node") == "n2" }
            await session.close()
            let refused = await refusal { try await test.transfer(on: cluster) }
            #expect(refused?.code == .identityMismatch && refused?.effect == .rolledBack)
            #expect(await refusal { try await cluster["n1"].execute("UPDATE account SET balance = 0") }?.code == .identityMismatch)
            let report = await cluster.recover(grace: .zero)
            #expect(report.settled == 0)
            #expect(try await test.prepared().count == 1)
            #expect(try await test.row(undecided, "n2") == nil)
            try pooler.redirect("n1", to: "n1")
            try await wait(for: "recovery") {
                _ = await cluster.recover(grace: .zero)
                return try await test.prepared().isEmpty
            }
            #expect(try await test.row(undecided, "n1") == "A")
            _ = try await test.transfer(on: cluster)
            try await test.expectMoved(20)
        }
    }

    @Test("branches that somebody left prepared are settled through the pooler")
    func recovering() async throws {
        try await withPooledCluster { test, cluster, _ in
            let decided = TransactionID.fresh(), undecided = TransactionID.fresh()
            try await test.leavePrepared(decided)
            try await test.decide(decided)
            try await test.leavePrepared(undecided, account: 2)
            _ = await cluster.recover(grace: .zero)
            try await test.expectMoved()
            #expect(try await test.balance("n2", 2) == TestCluster.balance)
            let committed = try await cluster.outcome(of: decided, within: .seconds(20)),
                rolledBack = try await cluster.outcome(of: undecided, within: .seconds(20))
            #expect(committed == .committed && rolledBack == .rolledBack)
        }
    }

    @Test("a pooler that is killed again and again takes no money with it")
    func killed() async throws {
        let often: (inout ClusterConfiguration) -> Void = { ($0.recoveryInterval, $0.recoveryGrace) = (.milliseconds(200), .milliseconds(200)) }
        try await withPooledCluster(2, often) { test, cluster, pooler in
            // What a killed pooler leaves prepared locks its accounts until somebody finishes it.
            let recovery = Task { try await cluster.run() }
            defer { recovery.cancel() }
            let committed = try await withThrowingTaskGroup(of: Int.self) { group in
                for client in 1...8 {
                    group.addTask {
                        var committed = 0
                        while !Task.isCancelled {
                            if (try? await test.transfer(1, account: client, on: cluster, options { $0.timeout = .seconds(5) })) != nil { committed += 1 }
                        }
                        return committed
                    }
                }
                for _ in 1...5 {
                    let before = try await test.count("n1", "tandem.branch")
                    try await wait(for: "transfers") { try await test.count("n1", "tandem.branch") > before + 20 }
                    try await pooler.kill()
                    try await pooler.run()
                }
                group.cancelAll()
                return try await group.reduce(0, +)
            }
            _ = await cluster.recover(grace: .zero)
            try await wait(for: "the end of every branch") { try await test.prepared().isEmpty }
            #expect(try await test.total() == test.expectedTotal)
            #expect(committed > 0)
            let rows = try await test.count("n1", "tandem.branch WHERE kind = 'W'")
            #expect(rows >= committed)
            #expect(try await test.value("n1", "SELECT \(TestCluster.accounts * TestCluster.balance) - sum(balance) FROM account") == "\(rows)")
        }
    }

    @Test("a pooler that the configuration does not name is found: by its refusal, or by the number of the process")
    func found() async throws {
        try await withPooledCluster(1, { $0.nodes[0].pooler = .none }) { _, cluster, _ in
            let error = await refusal { try await cluster["n1"].execute("SELECT 1") }
            #expect(error?.code == .configurationInvalid && error?.nextStep.contains("pooler: transaction") == true)
            let report = try await cluster.examine()
            #expect(report.findings.contains { $0.check == "reachable" && $0.message.contains("pooler: transaction") })
        }
        try await withPooledCluster(1, settings: ["ignore_startup_parameters = options"], { $0.nodes[0].pooler = .none }) { _, cluster, _ in
            let finding = try await cluster.examine().findings.first { $0.check == "pooler" }
            #expect(finding?.status == .problem && finding?.message.contains("pooler: transaction") == true)
        }
        try await withPooledCluster(1) { test, cluster, _ in
            let findings = try await cluster.examine().findings
            #expect(findings.first { $0.check == "pooler" }?.status == .ok && findings.first { $0.check == "timeouts" }?.status == .ok)
            let direct = try test.another { $0.nodes[0].pooler = .transaction }
            defer { direct.close() }
            #expect(try await direct.examine().findings.first { $0.check == "pooler" }?.status == .notice)
        }
    }

    @Test("a pooler that changes the application's name is refused: others could not see whose sessions they are")
    func nameless() async throws {
        try await withPooledCluster(1, settings: ["application_name_add_host = 1"]) { _, cluster, _ in
            let error = await refusal { try await cluster["n1"].execute("SELECT 1") }
            #expect(error?.code == .configurationInvalid && error?.nextStep.contains("application_name") == true)
        }
    }

    @Test("sessions that cannot make a commit durable, and a role for prepared transactions, are refused")
    func refused() async throws {
        try await withPooledCluster(1) { test, cluster, _ in
            try await test.value("n1", "ALTER ROLE tandem IN DATABASE \(test.database) SET synchronous_commit = off")
            let error = await refusal { try await cluster["n1"].execute("SELECT 1") }
            #expect(error?.code == .configurationInvalid && error?.message.contains("synchronous_commit = 'off'") == true)
            #expect(await refusal { try test.another { ($0.nodes[0].pooler, $0.nodes[0].role) = (.transaction, "owner") } }?.code == .configurationInvalid)
        }
    }
}
