import TandemCluster
import TandemCore
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemTransactions

@Suite("Rows of a branch as they arrive")
struct StreamTests {
    private struct Account: Decodable, Equatable {
        let id: Int
        let balance: Int
    }

    @Test("all rows come in order, as tuples and as values, and the transaction goes on and commits")
    func reads() async throws {
        try await withCluster { test in
            try await test.cluster.transaction { tx in
                let sum = try await tx["n1"].stream("SELECT i, i::text FROM generate_series(1, 20000) i") { rows in
                    var sum = 0, expected = 1
                    for try await row in rows {
                        let (number, text) = try row.decode(as: Int.self, String.self)
                        #expect(number == expected && text == "\(expected)")
                        expected += 1
                        sum += number
                    }
                    return sum
                }
                #expect(sum == 20_000 * 20_001 / 2)
                let accounts = try await tx["n2"].stream("SELECT id, balance FROM account ORDER BY id LIMIT 2") { rows in
                    var accounts: [Account] = []
                    for try await row in rows { accounts.append(try row.decode(Account.self)) }
                    return accounts
                }
                #expect(accounts == [Account(id: 1, balance: 1000), Account(id: 2, balance: 1000)])
                try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1")
                try await tx["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = 1")
            }
            try await test.expectMoved()
        }
    }

    @Test("a statement that writes and returns rows counts as a write")
    func writes() async throws {
        try await withCluster { test in
            try await test.cluster.transaction { tx in
                for (node, amount) in [("n1", -10), ("n2", 10)] as [(NodeName, Int)] {
                    let balances = try await tx[node].stream("UPDATE account SET balance = balance + \(amount) WHERE id = 1 RETURNING balance") { rows in
                        var balances: [Int] = []
                        for try await row in rows { balances.append(try row.decode(as: Int.self)) }
                        return balances
                    }
                    #expect(balances == [1000 + amount])
                }
            }
            try await test.expectMoved()
        }
    }

    @Test("a body that has seen enough, or throws, leaves the branch usable")
    func leavesEarly() async throws {
        try await withCluster { test in
            try await test.cluster.transaction { tx in
                let first = try await tx["n1"].stream("SELECT i FROM generate_series(1, 50000) i") { rows in
                    for try await row in rows { return try row.decode(as: Int.self) }
                    return 0
                }
                #expect(first == 1)
                await #expect(throws: OwnError(number: 7)) {
                    try await tx["n1"].stream("SELECT i FROM generate_series(1, 50000) i") { _ in throw OwnError(number: 7) }
                }
                try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1")
                try await tx["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = 1")
            }
            try await test.expectMoved()
        }
    }

    @Test("a statement that fails in the middle tells the reader, and the transaction rolls back though the body swallowed it")
    func failsInTheMiddle() async throws {
        try await withCluster { test in
            let error = await refusal {
                try await test.cluster.transaction { tx in
                    try await tx["n2"].execute("UPDATE account SET balance = 0 WHERE id = 1")
                    var seen = 0
                    let error = await refusal {
                        try await tx["n1"].stream("SELECT 10 / (100 - i) FROM generate_series(1, 200) i") { rows in
                            for try await _ in rows { seen += 1 }
                        }
                    }
                    #expect(seen == 99 && error?.sqlState?.rawValue == "22012" && error?.node == "n1")
                }
            }
            #expect(error?.effect == .rolledBack && error?.sqlState?.rawValue == "22012")
            try await test.expectUntouched()
        }
    }

    @Test("inside the stream's body the same branch refuses statements, which would wait for themselves; another branch runs them")
    func reenters() async throws {
        try await withCluster { test in
            _ = try await test.cluster.transaction { tx in
                try await tx["n1"].stream("SELECT 1") { rows in
                    #expect(await refusal { try await tx["n1"].execute("SELECT 2") }?.code == .statementRefused)
                    #expect(await refusal { try await tx["n1"].savepoint { _ in } }?.code == .statementRefused)
                    #expect(await refusal { try await tx["n1"].stream("SELECT 2") { _ in } }?.code == .statementRefused)
                    #expect(try await tx["n2"].execute("SELECT 2") == 1)
                    for try await row in rows { #expect(try row.decode(as: Int.self) == 1) }
                }
                #expect(try await tx["n1"].execute("SELECT 2") == 1)
            }
        }
    }

    @Test("streams of two branches inside one another refuse both branches, and never wait for each other")
    func nested() async throws {
        try await withCluster { test in
            _ = try await test.cluster.transaction { tx in
                try await tx["n1"].stream("SELECT 1") { outer in
                    try await tx["n2"].stream("SELECT 2") { inner in
                        for node in ["n1", "n2"] as [NodeName] {
                            #expect(await refusal { try await tx[node].execute("SELECT 3") }?.code == .statementRefused)
                        }
                        for try await _ in inner {}
                    }
                    for try await _ in outer {}
                }
            }
        }
    }

    @Test("a stream on a connection that is gone, or after the time is over, ends with an error and never hangs")
    func lostConnection() async throws {
        try await withCluster { test in
            let lost = await refusal {
                try await test.cluster.transaction { tx in
                    let backend = try await tx["n1"].query("SELECT pg_backend_pid()", as: Int.self)[0]
                    try await test.value("n1", "SELECT pg_terminate_backend(\(backend))")
                    try await wait(for: "the session's end") {
                        try await test.value("n1", "SELECT count(*) FROM pg_stat_activity WHERE pid = \(backend)") == "0"
                    }
                    try await tx["n1"].stream("SELECT 1") { rows in for try await _ in rows {} }
                }
            }
            #expect(lost?.effect == .rolledBack && lost?.isRetrySafe == true)
            let late = await refusal {
                try await test.cluster.transaction(options { $0.timeout = .milliseconds(300) }) { tx in
                    try await tx["n1"].execute("SELECT 1")
                    try await wait(for: "the deadline") { (try? await tx["n2"].execute("SELECT 1")) == nil }
                    try await tx["n1"].stream("SELECT 1") { rows in for try await _ in rows {} }
                }
            }
            #expect(late?.effect == .rolledBack)
            _ = try await test.transfer()
        }
    }

    @Test("a row that cannot be read is named by its number")
    func decoding() async throws {
        try await withCluster { test in
            let error = await refusal {
                try await test.cluster.transaction { tx in
                    try await tx["n1"].stream("SELECT CASE WHEN i = 3 THEN NULL ELSE i END AS n FROM generate_series(1, 5) i") { rows in
                        for try await row in rows { _ = try row.decode(as: Int.self) }
                    }
                }
            }
            #expect(error?.code == .decodingFailed && error?.message.contains("row 3") == true && error?.message.contains("\"n\"") == true)
        }
    }

    @Test("a cancelled reader ends the statement, the transaction and its locks")
    func cancellation() async throws {
        try await withCluster { test in
            let task = Task {
                try await test.cluster.transaction { tx in
                    try await tx["n2"].execute("UPDATE account SET balance = 0 WHERE id = 1")
                    try await tx["n1"].stream("SELECT pg_sleep(3600)") { rows in
                        for try await _ in rows {}
                    }
                }
            }
            try await wait(for: "the statement") {
                try await test.value("n1", "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'") == "1"
            }
            task.cancel()
            await #expect(throws: CancellationError.self) { try await task.value }
            try await wait(for: "the statement's end") {
                try await test.value("n1", "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'") == "0"
            }
            try await test.expectUntouched()
        }
    }
}
