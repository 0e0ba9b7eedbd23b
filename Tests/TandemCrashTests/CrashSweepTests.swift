import Foundation
import TandemCluster
import TandemCore
import TandemPostgres
import TandemTestSupport
import TandemTransactions
import Testing

// Where the rows A1 to A14 of the matrix of faults are tested. "Sweep" is a process that is killed at the n-th failpoint, for n = 1, 2, ...
//
// | Row | Fault: the coordinator ...                          | Test                                                              |
// |-----|-----------------------------------------------------|-------------------------------------------------------------------|
// | A1  | killed after BEGIN, before any PREPARE              | sweep, `body`: after_begin, before_prepare                        |
// | A2  | killed during its work                              | "killed while a statement runs"                                   |
// | A3  | killed after one PREPARE, before the next           | sweep, three nodes: after_prepare                                 |
// | A4  | killed between sending PREPARE and its reply        | "killed before the reply", n1                                     |
// | A5  | killed with all prepared and no decision            | sweep: after_prepare, before_decision                             |
// | A6  | killed after COMMIT was sent, its reply unread      | "killed before the reply", n2                                     |
// | A7  | killed after the decision, before COMMIT PREPARED   | sweep: after_decision, before_commit_prepared                     |
// | A8  | killed between two COMMIT PREPARED                  | sweep, three nodes: after_commit_prepared                         |
// | A9  | killed after COMMIT PREPARED was sent               | "killed before the reply of phase two"                            |
// | A10 | killed before the acknowledgement                   | sweep: before_acknowledgement                                     |
// | A11 | killed in the clean-up of rows                      | sweep, `forget`                                                   |
// | A12 | SIGTERM while prepared                              | "ended by a signal while prepared"                                |
// | A13 | started again under another name                    | every sweep: who recovers is another process, of another name     |
// | A14 | recovery killed, again and again                    | sweep, `recover`; "recovery that is killed each time"             |

/// What the sweeps have covered so far; the last one to end prints the sum.
private let covered = Locked((points: 0, transactions: 0, violations: 0))

/// One after the other: a process that is stopped or waits holds up what others measure by the servers' open transactions.
@Suite("Crashes", .serialized)
struct CrashTests {}

extension CrashTests {
    @Suite("A process that is killed at the n-th failpoint")
    struct CrashSweepTests {
        /// More failpoints than any run here passes.
        private static let most = 60

        private struct Transfer: Sendable, CustomTestStringConvertible {
            let testDescription: String
            let file: @Sendable (Int) -> String
            /// How much the money of an account moves on each node, when it does.
            var movement: [NodeName: Int] = ["n1": -10, "n2": 10]
            var isRefused = false

            static func text(_ operations: [(node: String, amount: Int, rows: Int?)], _ account: Int, _ more: String = "") -> String {
                let list = operations.map { operation in
                    "  - node: \(operation.node)\n    sql: UPDATE account SET balance = balance + $1 WHERE id = $2\n    params: [\(operation.amount), \(account)]\n"
                        + (operation.rows.map { "    expect: {rows: \($0)}\n" } ?? "")
                }
                return "\(more)operations:\n\(list.joined())"
            }
        }

        private static let transfers = [
            Transfer(testDescription: "two nodes") { Transfer.text([("n1", -10, 1), ("n2", 10, 1)], $0) },
            Transfer(testDescription: "two nodes, nothing expected") { Transfer.text([("n1", -10, nil), ("n2", 10, nil)], $0) },
            Transfer(
                testDescription: "three nodes", file: { Transfer.text([("n1", -10, 1), ("n2", 4, 1), ("n3", 6, 1)], $0) },
                movement: ["n1": -10, "n2": 4, "n3": 6]),
            Transfer(testDescription: "one node", file: { Transfer.text([("n2", 10, 1)], $0) }, movement: ["n2": 10]),
            Transfer(testDescription: "acknowledged when decided") { Transfer.text([("n1", -10, 1), ("n2", 10, 1)], $0, "acknowledge: decided\n") },
            Transfer(
                testDescription: "an expectation is violated", file: { Transfer.text([("n1", -10, 1), ("n2", 10, 2), ("n3", 0, 1)], $0) }, isRefused: true),
            Transfer(
                testDescription: "an expectation is violated on the commit point", file: { Transfer.text([("n1", -10, 1), ("n3", 10, 2)], $0) }, isRefused: true
            ),
        ]

        @Test("leaves a transaction on all of its nodes or on none", arguments: transfers)
        private func transactions(transfer: Transfer) async throws {
            try await withCluster(3) { test in
                try await test.withConfigurationFile { path in
                    try await sweep(test, transfer.movement, isRefused: transfer.isRefused) { account, failpoints in
                        try await Program(
                            name: "tandem", arguments: ["tx", "run", "-", "-c", path], failpoints: failpoints, input: transfer.file(account)
                        ).run()
                    }
                }
            }
        }

        @Test("leaves a transaction whose body sends statement after statement on all of its nodes or on none")
        func body() async throws {
            try await withCluster(3) { test in
                try await test.withConfigurationFile { path in
                    try await sweep(test, ["n1": -10, "n2": 10]) { account, failpoints in
                        try await Program(name: "TandemCrashProbe", arguments: ["body", path, "\(account)"], failpoints: failpoints).run()
                    }
                }
            }
        }

        /// Runs a program until it comes to its end, killed one failpoint later each time, and looks at the nodes after each.
        private func sweep(
            _ test: TestCluster, _ movement: [NodeName: Int], isRefused: Bool = false, _ run: (Int, String) async throws -> Program.End
        ) async throws {
            var end = Program.End.signalled(SIGKILL)
            var point = 0
            while end.isKilled {
                point += 1
                try #require(point < Self.most, "the program never comes to its end")
                // `0*off` would mean nothing: the first failpoint has no hits before it.
                end = try await run(point, point == 1 ? "*=kill" : "*=\(point - 1)*off->kill")
                try await look(test, movement, account: point, isAcknowledged: end == .exited(0), mayHaveMoved: !isRefused)
            }
            #expect(end == .exited(isRefused ? 1 : 0))
            report(points: point - 1, transactions: point)
        }

        /// Recovers as another process would, and checks what must hold.
        private func look(_ test: TestCluster, _ movement: [NodeName: Int], account: Int, isAcknowledged: Bool, mayHaveMoved: Bool) async throws {
            // A statement that the killed process had sent may still be under way, and a PREPARE among them would be found by the next pass only.
            try await wait(for: "the end of what the killed process had sent") {
                for node in test.configuration.nodes {
                    let busy = try await test.value(
                        node.name,
                        """
                        SELECT count(*)::text FROM pg_stat_activity
                        WHERE datname = current_database() AND backend_type = 'client backend' AND state <> 'idle' AND pid <> pg_backend_pid()
                        """)
                    guard busy == "0" else { return false }
                }
                return true
            }
            try await wait(for: "recovery") {
                _ = await test.cluster.recover(grace: .zero)
                return try await test.prepared().isEmpty
            }
            var hasMoved: Set<Bool> = []
            for (node, amount) in movement {
                let balance = try await test.balance(node, account)
                check(balance == TestCluster.balance || balance == TestCluster.balance + amount, "account \(account) on \(node) holds \(balance)")
                hasMoved.insert(balance != TestCluster.balance)
            }
            check(hasMoved.count == 1, "the transaction of account \(account) is on some nodes only")
            check(!isAcknowledged || hasMoved == [true], "the transaction of account \(account) was acknowledged and is not there")
            check(mayHaveMoved || hasMoved == [false], "the transaction of account \(account) was refused and is there")
            let rows = try await rows(test)
            check(await test.cluster.recover(grace: .zero).branches.isEmpty, "recovery finds something the second time")
            check(try await self.rows(test) == rows, "recovery changes something the second time")
        }

        private func rows(_ test: TestCluster) async throws -> [String?] {
            var rows: [String?] = []
            for node in test.configuration.nodes {
                rows.append(
                    try await test.value(
                        node.name,
                        "SELECT string_agg(transaction_id::text || node || kind::text, ',' ORDER BY 1) FROM (SELECT * FROM tandem.branch ORDER BY 1) b"))
            }
            return rows
        }

        private func check(_ holds: Bool, _ violation: String) {
            #expect(holds, "\(violation)")
            if !holds { covered.withLock { $0.violations += 1 } }
        }

        private func report(points: Int, transactions: Int) {
            let sum = covered.withLock { covered in
                covered.points += points
                covered.transactions += transactions
                return covered
            }
            print("crash sweep: \(sum.points) crash points over \(sum.transactions) transactions, \(sum.violations) violations")
        }

        // MARK: Recovery

        /// Three transactions that a killed coordinator left: one decided, one undecided, one decided with two members.
        private func leaveInDoubt(_ test: TestCluster, _ first: Int) async throws {
            for (index, isDecided) in [true, false, true].enumerated() {
                let id = TransactionID.make(
                    milliseconds: UInt64(Date().timeIntervalSince1970 * 1000), random: (.random(in: 0 ... .max), .random(in: 0 ... .max)))
                let account = first + index
                for (place, node) in ["n2", "n3"].prefix(index == 2 ? 2 : 1).enumerated() {
                    let number = place + 2
                    try await sql(
                        try test.conninfo(try NodeName(node)), "BEGIN", "UPDATE account SET balance = balance + 10 WHERE id = \(account)",
                        "INSERT INTO tandem.branch (transaction_id, node) VALUES ('\(id)', \(number))",
                        "PREPARE TRANSACTION 'tandem1:test:\(id):\(number):c1'")
                }
                guard isDecided else { continue }
                try await sql(
                    try test.conninfo("n1"), "BEGIN", "UPDATE account SET balance = balance - 10 WHERE id = \(account)",
                    "INSERT INTO tandem.branch (transaction_id, node) VALUES ('\(id)', 1)", "COMMIT")
            }
        }

        private func expectSettled(_ test: TestCluster, _ first: Int) async throws {
            for (index, isDecided) in [true, false, true].enumerated() {
                for node in ["n2", "n3"].prefix(index == 2 ? 2 : 1) {
                    let balance = try await test.balance(try NodeName(node), first + index)
                    check(balance == TestCluster.balance + (isDecided ? 10 : 0), "account \(first + index) on \(node) holds \(balance)")
                }
            }
            check(try await test.prepared().isEmpty, "something stays prepared")
        }

        @Test("leaves recovery to the next one, wherever it was")
        func recovery() async throws {
            try await withCluster(3) { test in
                try await test.withConfigurationFile { path in
                    var end = Program.End.signalled(SIGKILL)
                    var point = 0
                    while end.isKilled {
                        point += 1
                        try #require(point < Self.most)
                        try await leaveInDoubt(test, point * 3)
                        end = try await Program(
                            name: "tandem", arguments: ["recover", "--once", "--grace", "0s", "-c", path],
                            failpoints: point == 1 ? "*=kill" : "*=\(point - 1)*off->kill"
                        ).run()
                        // What the killed one had sent may still be on its way.
                        try await wait(for: "recovery") {
                            _ = await test.cluster.recover(grace: .zero)
                            return try await test.prepared().isEmpty
                        }
                        try await expectSettled(test, point * 3)
                        check(await test.cluster.recover(grace: .zero).branches.isEmpty, "recovery finds something the second time")
                    }
                    #expect(end == .exited(0))
                    report(points: point - 1, transactions: point * 3)
                }
            }
        }

        @Test("recovery that is killed each time, one failpoint later, comes to its end all the same")
        func repeatedRecovery() async throws {
            try await withCluster(3) { test in
                try await test.withConfigurationFile { path in
                    try await leaveInDoubt(test, 1)
                    try await leaveInDoubt(test, 4)
                    var end = Program.End.signalled(SIGKILL)
                    var point = 0
                    while end.isKilled {
                        point += 1
                        try #require(point < Self.most)
                        end = try await Program(
                            name: "tandem", arguments: ["recover", "--once", "--grace", "0s", "-c", path],
                            failpoints: point == 1 ? "*=kill" : "*=\(point - 1)*off->kill"
                        ).run()
                    }
                    #expect(end == .exited(0))
                    try await expectSettled(test, 1)
                    try await expectSettled(test, 4)
                    report(points: point - 1, transactions: 6)
                }
            }
        }

        // MARK: Retention

        @Test("leaves no row that is needed to be forgotten, and the next one removes the rest")
        func retention() async throws {
            try await withCluster(3) { test in
                try await test.withConfigurationFile("retention: 1h\n") { path in
                    var end = Program.End.signalled(SIGKILL)
                    var point = 0
                    while end.isKilled {
                        point += 1
                        try #require(point < Self.most)
                        // Rows of an hour long past, and afterwards three transactions that are in doubt.
                        for node in 1...3 {
                            let old = TransactionID.make(milliseconds: 1_700_000_000_000 + UInt64(point), random: (UInt64(node), UInt64(point)))
                            try await test.value(
                                try NodeName("n\(node)"), "INSERT INTO tandem.branch (transaction_id, node, kind) VALUES ('\(old)', \(node), 'W')")
                        }
                        end = try await Program(
                            name: "TandemCrashProbe", arguments: ["forget", path], failpoints: point == 1 ? "*=kill" : "*=\(point - 1)*off->kill"
                        ).run()
                        try await leaveInDoubt(test, point * 3)
                        // What was in doubt is settled as it was decided, whatever became of the rows.
                        // What the killed one had sent may still be on its way.
                        try await wait(for: "recovery") {
                            _ = await test.cluster.recover(grace: .zero)
                            return try await test.prepared().isEmpty
                        }
                        try await expectSettled(test, point * 3)
                        _ = try await test.another { $0.retention = .seconds(3600) }.forget()
                        for node in 1...3 {
                            let left = try await test.count(
                                try NodeName("n\(node)"), "tandem.branch WHERE transaction_id < '018c0000-0000-7000-8000-000000000000'")
                            check(left == 0, "\(left) old rows are left on n\(node)")
                        }
                    }
                    #expect(end == .exited(0))
                    report(points: point - 1, transactions: point * 3)
                }
            }
        }
    }
}
