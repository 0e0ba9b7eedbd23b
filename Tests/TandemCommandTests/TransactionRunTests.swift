import Foundation
import Glibc
import Testing

extension BuiltProgram {
    @Suite("tandem tx run")
    struct TransactionRunTests {
        @Test("a good file commits on all of its nodes and prints what it did")
        func good() async throws {
            try await withNodes { nodes in
                try await nodes.makeAccounts(on: "n1", "n2")
                let end = try await nodes.tandem("tx", "run", "-", input: DevNodes.transfer)
                #expect(end.code == 0, "\(end.talk)")
                let object = try end.json()
                let transaction = try #require(object["transaction"] as? String)
                #expect(UUID(uuidString: transaction) != nil)
                let start = #"{"transaction":"\#(transaction)","outcome":"committed","nodes":[{"name":"n1","state":"committed"},"#
                #expect(end.output.hasPrefix(start))
                #expect(
                    end.output.hasSuffix(
                        #""results":[{"node":"n1","rows":1,"columns":["balance","id"],"values":[["98.90",1]]},"#
                            + #"{"node":"n2","rows":1,"columns":[],"values":[]}]}"# + "\n"))
                #expect(try await nodes.state() == (["98.90", "101.10"], 0))

                let table = try await tandem("tx", "run", "-c", nodes.configuration, "-", input: DevNodes.transfer)
                #expect(table.code == 0)
                #expect(table.output.contains("committed\nNODE  STATE\nn1    committed\nn2    committed\n"))
                #expect(table.output.contains("balance  id\n97.80    1\n"))
            }
        }

        @Test("parameters arrive digit for digit, and values come out so")
        func digits() async throws {
            try await withNodes(1) { nodes in
                try await nodes.sql(
                    "n1", "CREATE TABLE t (a int8, b numeric, c date, d text, e int[], f jsonb, g bool, h float8, i text[], j json)")
                let end = try await nodes.tandem(
                    "tx", "run", "-",
                    input: """
                        operations:
                          - node: n1
                            sql: INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING *
                            params: [9007199254740993, 1.10, 2026-01-01, "null", [1, ~, "3"], {a: 1.10}, true, 1e100, [[a, "b\\"{},"], ["", "NULL"]], null]
                          - node: n1
                            sql: INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING *
                            params: ["9007199254740992", "-0.50", "2026-01-01", ~, [], {}, no, NaN, [], [1, 2]]
                        """)
                #expect(end.code == 1, "an array is no JSON: \(end.output)")
                let good = try await nodes.tandem(
                    "tx", "run", "-",
                    input: """
                        operations:
                          - node: n1
                            sql: INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING *
                            params: [9007199254740993, 1.10, 2026-01-01, "null", [1, ~, "3"], {a: 1.10}, true, 1e100, [[a, "b\\"{},"], ["", "NULL"]], null]
                          - node: n1
                            sql: INSERT INTO t VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) RETURNING *
                            params: ["9007199254740992", "-0.50", "2026-01-01", ~, [], {}, no, NaN, [], {"x": [1.10, "1"]}]
                        """)
                #expect(good.code == 0, "\(good.talk)")
                let first =
                    #"["9007199254740993","1.10","2026-01-01","null","{1,NULL,3}",{"a": 1.10},true,1e+100,"{{a,\"b\\\"{},\"},{\"\",\"NULL\"}}",null]"#
                let second = #"[9007199254740992,"-0.50","2026-01-01",null,"{}",{},false,"NaN","{}",{"x":[1.10,"1"]}]"#
                #expect(good.output.contains(first), "\(good.output)")
                #expect(good.output.contains(second), "\(good.output)")
            }
        }

        @Test("what is wrong is told, changes nothing and leaves nothing prepared")
        func failures() async throws {
            try await withNodes { nodes in
                try await nodes.makeAccounts(on: "n1", "n2")
                func run(_ text: String) async throws -> (end: ProgramRun.End, error: [String: any Sendable], outcome: String?) {
                    let end = try await nodes.tandem("tx", "run", "-", input: text)
                    let object = try end.json()
                    return (end, try #require(object["error"] as? [String: any Sendable]), object["outcome"] as? String)
                }
                let violated = try await run(DevNodes.transfer.replacing("params: [\"1.10\", 1]", with: "params: [1, 9]"))
                #expect(violated.end.code == 1)
                #expect(violated.outcome == "rolled_back")
                #expect(violated.error["code"] as? String == "expectationViolated")
                #expect(violated.error["node"] as? String == "n2")

                let failed = try await run(DevNodes.transfer.replacing("id = $2\n", with: "id = $2 / 0\n"))
                #expect(failed.end.code == 1)
                #expect(failed.error["sqlState"] as? String == "22012")
                #expect(failed.end.talk.contains("node n2, SQLSTATE 22012"), "\(failed.end.talk)")

                for (text, code) in [
                    (DevNodes.transfer.replacing("node: n2", with: "node: n9"), "unknownNode"),
                    ("operations: [{node: n1", "configurationInvalid"),
                    (DevNodes.transfer.replacing("expect", with: "expct"), "configurationInvalid"),
                    ("operations: [{node: n1, sql: /* now */ COMMIT}]", "statementRefused"),
                ] {
                    let wrong = try await run(text)
                    #expect(wrong.end.code == 2, "\(text)")
                    #expect(wrong.error["code"] as? String == code)
                    #expect(wrong.outcome == nil, "nothing was sent, so there is no transaction")
                    #expect(wrong.end.talk.contains("next: "))
                }
                #expect(try await nodes.state() == (["100", "100"], 0))

                try await nodes.fault("kill", "n2")
                let dead = try await run(DevNodes.transfer)
                #expect(dead.end.code == 1)
                #expect(dead.outcome == "rolled_back")
                #expect(dead.error["node"] as? String == "n2")
                #expect(dead.error["code"] as? String == "nodeUnreachable")
                #expect(try await nodes.tandem("recover", "--once").code == 5)
                try await nodes.fault("start", "n2")
                #expect(try await nodes.tandem("recover", "--once", "--grace", "0s").code == 0)
                #expect(try await nodes.state() == (["100", "100"], 0))

                let ended = try await nodes.tandem(
                    "tx", "run", "-", environment: ["TANDEM_FAILPOINTS": "before_decision=kill"], input: DevNodes.transfer)
                #expect(ended.code == 128 + SIGKILL)
                #expect(try await nodes.tandem("recover", "--once").code == 3, "younger than the grace time")
                #expect(try await nodes.tandem("recover", "--once", "--grace", "0s").code == 0)
                #expect(try await nodes.state() == (["100", "100"], 0))
            }
        }

        @Test("an id whose transaction is committed answers so, and nothing is done twice")
        func duplicate() async throws {
            try await withNodes { nodes in
                try await nodes.makeAccounts(on: "n1", "n2")
                let first = try await nodes.tandem("tx", "run", "-", input: DevNodes.transfer)
                let id = try #require(try first.json()["transaction"] as? String)
                let twice = try await nodes.tandem("tx", "run", "-", input: DevNodes.transfer + "id: \(id)\n")
                #expect(twice.code == 0)
                #expect(try twice.json()["outcome"] as? String == "committed")
                #expect(try twice.json()["repeated"] as? Bool == true)
                #expect(try await nodes.state() == (["98.90", "101.10"], 0))
            }
        }

        @Test("an interruption during a blocked statement rolls back and exits with 130")
        func interruptedBefore() async throws {
            try await withNodes { nodes in
                try await nodes.makeAccounts(on: "n1", "n2")
                try await nodes.sql("n1", "BEGIN; UPDATE account SET balance = balance WHERE id = 1; PREPARE TRANSACTION 'blocker'")
                let run = try nodes.start(["tx", "run", "-"], input: DevNodes.transfer)
                try await until("the statement waits") {
                    try await nodes.sql("n1", "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == "1"
                }
                run.send(SIGINT)
                let end = await run.end()
                #expect(end.code == 130, "\(end.talk)")
                #expect(try end.json()["outcome"] as? String == "rolled_back")
                try await nodes.sql("n1", "ROLLBACK PREPARED 'blocker'")
                #expect(try await nodes.state() == (["100", "100"], 0))
            }
        }

        @Test("an interruption after the decision changes nothing: committed, 0")
        func interruptedAfter() async throws {
            try await withNodes { nodes in
                try await nodes.makeAccounts(on: "n1", "n2")
                let run = try nodes.start(
                    ["tx", "run", "-"], environment: ["TANDEM_FAILPOINTS": "after_decision=hold"], input: DevNodes.transfer)
                try await until("the decision is durable") {
                    try await nodes.sql("n2", "SELECT balance FROM account WHERE id = 1") == "101.10"
                }
                run.send(SIGINT)
                let end = await run.end()
                #expect(end.code == 0, "\(end.talk)")
                #expect(try end.json()["outcome"] as? String == "committed")
                #expect(try await nodes.tandem("recover", "--once").code == 0)
                #expect(try await nodes.state() == (["98.90", "101.10"], 0))
            }
        }

        @Test("a decision that gets no answer is in doubt: 6, with the id on standard output, and recovery settles it")
        func inDoubt() async throws {
            try await withNodes { nodes in
                try await nodes.makeAccounts(on: "n1", "n2")
                let run = try nodes.start(
                    ["tx", "run", "-"], environment: ["TANDEM_FAILPOINTS": "before_decision=stop"],
                    input: DevNodes.transfer + "timeout: 8s\n")
                try await until("it is before the decision") {
                    try await nodes.sql("n1", "SELECT count(*) FROM pg_prepared_xacts") == "1" && run.isStopped
                }
                try await nodes.fault("pause", "n2")
                run.send(SIGCONT)
                let end = await run.end()
                #expect(end.code == 6 || end.code == 1, "6 unless its time was over before it went on: \(end.talk)")
                #expect(try end.json()["transaction"] is String)
                if end.code == 6 { #expect(try end.json()["outcome"] as? String == "in_doubt") }
                try await nodes.fault("resume", "n2")
                try await until("nothing remains") { try await nodes.tandem("recover", "--once", "--grace", "0s").code == 0 }
                let (balances, prepared) = try await nodes.state()
                #expect(prepared == 0)
                #expect(balances == ["98.90", "101.10"] || balances == ["100", "100"])
            }
        }

        @Test("the exit code is the outcome's also where nobody takes the result")
        func closedOutput() async throws {
            try await withNodes(1) { nodes in
                let file = "\(nodes.folder)/read.yaml"
                try Data("operations: [{node: n1, sql: SELECT 1}]\n".utf8).write(to: URL(fileURLWithPath: file))
                defer { try? FileManager.default.removeItem(atPath: file) }
                let own = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
                let program = URL(fileURLWithPath: own).deletingLastPathComponent().appending(path: "tandem").path
                for redirection in [">&-", "> /dev/full", ">&- 2>&- <&-"] {
                    let shell = Process()
                    shell.executableURL = URL(fileURLWithPath: "/bin/sh")
                    shell.arguments = ["-c", "exec \"$0\" \"$@\" \(redirection)", program, "tx", "run", file, "-c", nodes.configuration]
                    let (ended, continuation) = AsyncStream.makeStream(of: Never.self)
                    shell.terminationHandler = { _ in continuation.finish() }
                    try shell.run()
                    for await _ in ended {}
                    #expect(shell.terminationStatus == 0, "\(redirection)")
                }
            }
        }
    }
}

extension BuiltProgram {
    @Suite("tandem serve")
    struct ServeTests {
        @Test("it settles what was left prepared, and SIGTERM ends it in order")
        func serve() async throws {
            try await withNodes { nodes in
                try await nodes.makeAccounts(on: "n1", "n2")
                let path = "\(nodes.folder)-eager.yaml"
                defer { try? FileManager.default.removeItem(atPath: path) }
                let text = try String(contentsOfFile: nodes.configuration, encoding: .utf8)
                try Data((text + "recovery: {interval: 50ms, grace: 0s}\n").utf8).write(to: URL(fileURLWithPath: path))
                _ = try await nodes.tandem(
                    "tx", "run", "-", environment: ["TANDEM_FAILPOINTS": "after_decision=kill"], input: DevNodes.transfer)
                #expect(try await nodes.state() == (["100", "101.10"], 1))
                let run = try ProgramRun(["serve", "-c", path])
                try await until("the branch is committed") { try await nodes.state() == (["98.90", "101.10"], 0) }
                run.send(SIGTERM)
                #expect(await run.end().code == 0)
            }
        }
    }
}
