import Foundation
import Glibc
import Testing

extension BuiltProgram {
    @Suite("tandem tx run --jsonl")
    struct TransactionLinesTests {
        private static func line(_ reference: String, amount: String = "1", from: String = "n1", to: String = "n2", id: String? = nil) -> String {
            let identity = id.map { #""id":"\#($0)","# } ?? ""
            return #"{"ref":\#(reference),\#(identity)"operations":["#
                + #"{"node":"\#(from)","sql":"UPDATE account SET balance = balance - $1 WHERE id = 1","params":[\#(amount)],"expect":{"rows":1}},"#
                + #"{"node":"\#(to)","sql":"UPDATE account SET balance = balance + $1 WHERE id = 1","params":[\#(amount)]}]}"#
        }

        /// The results by their reference.
        private func results(_ end: ProgramRun.End) throws -> [String: [String: any Sendable]] {
            var results: [String: [String: any Sendable]] = [:]
            for line in end.output.split(separator: "\n") {
                let object = try #require(try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: any Sendable])
                results["\(object["ref"] ?? "line \(object["line"] ?? "")")"] = object
            }
            return results
        }

        private func id(_ number: Int) -> String {
            let time = String(UInt64(Date().timeIntervalSince1970 * 1000), radix: 16)
            let digits = String(repeating: "0", count: 12 - time.count) + time
            return "\(digits.prefix(8))-\(digits.suffix(4))-7000-8000-\(String(repeating: "0", count: 12 - String(number).count))\(number)"
        }

        @Test("every line is answered under its reference, good ones and bad ones, digit for digit")
        func answers() async throws {
            try await withNodes { nodes in
                try await nodes.makeAccounts(on: "n1", "n2")
                let used = id(1)
                let input = [
                    Self.line("1", amount: "1.10"), "", "   ", Self.line(#""two""#, amount: #""0.90""#), Self.line("3", id: used), "no JSON",
                    Self.line("4", from: "n9"), Self.line("5", amount: #""x""#), #"{"ref":6,"operations":[{"node":"n1","sql":"COMMIT"}]}"#,
                ]
                let end = try await nodes.tandem("tx", "run", "--jsonl", "-", "--clients", "4", input: input.joined(separator: "\n"))
                #expect(end.code == 2, "\(end.talk)")
                let found = try results(end)
                #expect(found.count == 7)
                for reference in ["1", "two", "3"] { #expect(found[reference]?["outcome"] as? String == "committed", "\(reference)") }
                #expect(found["3"]?["transaction"] as? String == used)
                func code(_ reference: String) -> String? { (found[reference]?["error"] as? [String: any Sendable])?["code"] as? String }
                #expect(code("line 6") == "configurationInvalid" && code("4") == "unknownNode" && code("6") == "statementRefused")
                #expect(code("5") == "statementFailed" && found["5"]?["outcome"] as? String == "rolled_back")
                #expect(try await nodes.state() == (["97.00", "103.00"], 0))

                let again = try await nodes.tandem("tx", "run", "--jsonl", "-", input: Self.line("3", id: used) + "\n" + Self.line("7", id: used))
                #expect(again.code == 0)
                for (_, result) in try results(again) { #expect(result["repeated"] as? Bool == true && result["outcome"] as? String == "committed") }
                #expect(try await nodes.state() == (["97.00", "103.00"], 0))
                let sum = try await nodes.tandem("tx", "run", "--jsonl", "-", input: Self.line("8", amount: #""y""#))
                #expect(sum.code == 1)
            }
        }

        @Test("a signal lets what runs end, and reads no more; its lines have their answers")
        func interrupted() async throws {
            try await withNodes { nodes in
                try await nodes.makeAccounts(on: "n1", "n2")
                try await nodes.sql("n1", "BEGIN; UPDATE account SET balance = balance WHERE id = 1; PREPARE TRANSACTION 'blocker'")
                let run = try nodes.start(
                    ["tx", "run", "--jsonl", "-", "--clients", "1"], input: (1...50).map { Self.line("\($0)") }.joined(separator: "\n"))
                try await until("the first line waits") {
                    try await nodes.sql("n1", "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == "1"
                }
                run.send(SIGINT)
                try await until("it was told") { run.talk.contains("no more lines are read") }
                try await nodes.sql("n1", "ROLLBACK PREPARED 'blocker'")
                let end = await run.end()
                #expect(end.code == 130, "\(end.talk)")
                #expect(try results(end).keys.sorted() == ["1"])
                #expect(try await nodes.state() == (["99", "101"], 0))
            }
        }

        @Test("killed and sent again, and again, every line is there once")
        func killed() async throws {
            try await withNodes { nodes in
                try await nodes.makeAccounts(on: "n1", "n2")
                try await nodes.sql("n1", "UPDATE account SET balance = 1000")
                let count = 400
                var ids = (0..<count).map { id($0 * 1000) }
                var killed = 0
                var waiting = Set(0..<count)
                for round in 0..<40 where !waiting.isEmpty {
                    let input = waiting.sorted().map { Self.line("\($0)", id: ids[$0]) }.joined(separator: "\n")
                    let run = try nodes.start(["tx", "run", "--jsonl", "-"], input: input)
                    if round < 4 {
                        let enough = 40 * (round + 1)
                        try await until("some lines are answered") { run.output.split(separator: "\n").count >= enough || !run.isRunning }
                        run.send(SIGKILL)
                    }
                    let end = await run.end()
                    if end.code == 128 + SIGKILL { killed += 1 }
                    // What a last, cut line says counts for nothing.
                    let complete = end.output.lastIndex(of: "\n").map { String(end.output[...$0]) } ?? ""
                    for (reference, result) in try results(ProgramRun.End(code: 0, output: complete, talk: "")) {
                        let number = try #require(Int(reference))
                        if result["outcome"] as? String == "committed" { waiting.remove(number) }
                        // Rolled back for good: under a new id, the next of a row that everybody makes alike.
                        let code = (result["error"] as? [String: any Sendable])?["code"] as? String
                        if code == "duplicateTransaction" { ids[number] = id(number * 1000 + round + 1) }
                    }
                    // Its sessions go on with the statement that they wait in, and may still prepare something: younger than recovery's grace time it would
                    // hold the row for a minute.
                    try await until("its sessions have ended") {
                        for node in ["n1", "n2"] {
                            let sessions = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name LIKE 'tandem%'"
                            if try await nodes.sql(node, sessions) != "0" { return false }
                        }
                        return true
                    }
                    _ = try await nodes.tandem("recover", "--once", "--grace", "0s")
                }
                #expect(killed >= 2 && waiting.isEmpty)
                #expect(try await nodes.state() == (["\(1000 - count)", "\(100 + count)"], 0))
            }
        }

        @Test("a reader that goes away ends it in order")
        func closedOutput() async throws {
            try await withNodes { nodes in
                try await nodes.makeAccounts(on: "n1", "n2")
                let run = try nodes.start(
                    ["tx", "run", "--jsonl", "-"], input: (1...2000).map { Self.line("\($0)", amount: "0") }.joined(separator: "\n"), output: "/dev/full")
                let end = await run.end()
                #expect(end.code == 1, "\(end.talk)")
                #expect(try await nodes.state() == (["100", "100"], 0))
            }
        }
    }
}
