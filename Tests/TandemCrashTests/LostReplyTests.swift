import Foundation
import TandemCluster
import TandemCore
import TandemLocal
import TandemPostgres
import TandemTestSupport
import TandemTransactions
import Testing

extension CrashTests {
    @Suite("A process that is killed between two failpoints")
    struct LostReplyTests {
        /// The last node in the order of nodes is the commit point: n2.
        private static let file = """
            operations:
              - {node: n1, sql: UPDATE account SET balance = balance - 10 WHERE id = 1, expect: {rows: 1}}
              - {node: n2, sql: UPDATE account SET balance = balance + 10 WHERE id = 1, expect: {rows: 1}}
            """

        private func program(_ path: String, failpoints: String? = nil, file: String = file) -> Program {
            Program(name: "tandem", arguments: ["tx", "run", "-", "-c", path], failpoints: failpoints, input: file)
        }

        /// What must hold in the end, whatever happened.
        private func expectWhole(_ test: TestCluster, isCommitted: Bool?) async throws {
            try await wait(for: "recovery") {
                _ = await test.cluster.recover(grace: .zero)
                return try await test.prepared().isEmpty
            }
            let one = try await test.balance("n1", 1), two = try await test.balance("n2", 1)
            #expect(one + two == 2 * TestCluster.balance)
            #expect(one == TestCluster.balance || one == TestCluster.balance - 10)
            if let isCommitted { #expect((one != TestCluster.balance) == isCommitted) }
            #expect(await test.cluster.recover(grace: .zero).branches.isEmpty)
        }

        @Test("killed while a statement runs, it leaves nothing (A2)")
        func statement() async throws {
            try await withCluster { test in
                try await test.withConfigurationFile { path in
                    let file = """
                        operations:
                          - {node: n1, sql: UPDATE account SET balance = balance - 10 WHERE id = 1, expect: {rows: 1}}
                          - {node: n2, sql: UPDATE account SET balance = balance + 10 WHERE id = 1}
                          - {node: n2, sql: SELECT pg_sleep(600)}
                        """
                    let running = try program(path, file: file).start()
                    try await wait(for: "the statement") {
                        try await test.value("n2", "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'") == "1"
                    }
                    running.signal(SIGKILL)
                    #expect(try await running.end().isKilled)
                    // client_connection_check_interval: the server notices within two seconds.
                    try await wait(for: "the end of the branch") {
                        try await test.value("n2", "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'") == "0"
                    }
                    try await expectWhole(test, isCommitted: false)
                }
            }
        }

        @Test("killed before the reply to PREPARE (n1) or to the decision (n2), it leaves everything or nothing (A4, A6)", arguments: ["n1", "n2"])
        func reply(node: String) async throws {
            try await withDisturbedCluster { test in
                try await test.withConfigurationFile { path in
                    let name = try NodeName(node)
                    try await test.withGhost(name) {
                        let running = try program(path).start()
                        _ = try await test.waitingBackend(name)
                        running.signal(SIGKILL)
                        #expect(try await running.end().isKilled)
                    }
                    try await expectWhole(test, isCommitted: node == "n2")
                }
            }
        }

        @Test("killed before the reply to COMMIT PREPARED, it has committed everywhere (A9)")
        func replyOfPhaseTwo() async throws {
            try await withDisturbedCluster { test in
                try await test.withConfigurationFile { path in
                    let running = try program(path, failpoints: "before_commit_prepared=delay(60000)").start()
                    try await wait(for: "the decision") { try await test.balance("n2", 1) == TestCluster.balance + 10 }
                    running.signal(SIGSTOP)
                    running.signal(SIGKILL)
                    #expect(try await running.end().isKilled)
                    // Recovery of another process takes over and is killed in its turn, before the reply to its own COMMIT PREPARED.
                    try await test.withGhost("n1") {
                        let recovery = try Program(name: "tandem", arguments: ["recover", "--once", "--grace", "0s", "-c", path]).start()
                        _ = try await test.waitingBackend("n1")
                        recovery.signal(SIGKILL)
                        #expect(try await recovery.end().isKilled)
                    }
                    try await expectWhole(test, isCommitted: true)
                }
            }
        }

        @Test("ended by a signal while prepared, it leaves nothing that recovery does not settle (A12)", arguments: [SIGTERM, SIGINT])
        func signal(number: Int32) async throws {
            try await withCluster { test in
                try await test.withConfigurationFile { path in
                    let running = try program(path, failpoints: "before_decision=hold").start()
                    try await wait(for: "the vote") { try await test.prepared().count == 1 }
                    running.signal(number)
                    #expect(try await running.end() != .exited(0))
                    try await expectWhole(test, isCommitted: false)
                }
            }
        }

        @Test("stopped before its decision and continued after recovery, it is told that it was rolled back (A15)")
        func stopped() async throws {
            try await withCluster { test in
                try await test.withConfigurationFile { path in
                    let running = try program(path, failpoints: "before_decision=stop").start()
                    try await wait(for: "the vote") { try await test.prepared().count == 1 }
                    try await wait(for: "the tombstone") {
                        _ = await test.cluster.recover(grace: .zero)
                        return try await test.prepared().isEmpty
                    }
                    try await wait(for: "its standstill") { running.isStopped }
                    running.signal(SIGCONT)
                    let end = try await running.end()
                    #expect(end != .exited(0) && !end.isKilled)
                    try await expectWhole(test, isCommitted: false)
                }
            }
        }

        @Test("stopped after its decision and continued after recovery, it reports the commit (A15)")
        func stoppedAfterDecision() async throws {
            try await withCluster { test in
                try await test.withConfigurationFile { path in
                    let running = try program(path, failpoints: "after_decision=stop").start()
                    try await wait(for: "the decision") { try await test.balance("n2", 1) == TestCluster.balance + 10 }
                    try await wait(for: "recovery") {
                        _ = await test.cluster.recover(grace: .zero)
                        return try await test.prepared().isEmpty
                    }
                    try await wait(for: "its standstill") { running.isStopped }
                    running.signal(SIGCONT)
                    #expect(try await running.end() == .exited(0))
                    try await expectWhole(test, isCommitted: true)
                }
            }
        }
    }
}
