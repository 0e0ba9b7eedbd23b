import Foundation
import Glibc
import Testing

extension BuiltProgram {
    @Suite("tandem chaos", .serialized)
    struct ChaosTests {
        @Test("a run finds nothing, says what happened, and its history is checked again", arguments: ["bank", "list-append"])
        func run(_ workload: String) async throws {
            try await withFolder { folder in
                let history = "\(folder)/history.jsonl", report = "\(folder)/report.md"
                let run = try await ProgramRun(
                    [
                        "chaos", "run", "--seed", "11", "--seconds", "6", "--workload", workload, "--faults", "kill,coordinator", "--history", history,
                        "--report", report,
                        "--json",
                    ]
                ).end()
                // On a busy machine too few transactions may be acknowledged, which is said and is no violation.
                #expect(run.code == 0 || run.code == 1, "\(run.talk)")
                let result = try run.json()
                #expect(result["violations"] as? Int == 0 && result["in_doubt_after"] as? Int == 0, "\(run.output)")
                #expect(result["seed"] as? Int == 11 && result["unknown_after_recovery"] as? Int == 0)
                let faults = try #require(result["faults"] as? [String: Int])
                #expect(faults["kill", default: 0] > 0 && faults["coordinator", default: 0] > 0)
                let text = try String(contentsOfFile: report, encoding: .utf8)
                #expect(text.contains("tandem chaos run --seed 11 --seconds 6") && text.contains("| kill |"))

                let check = try await ProgramRun(["chaos", "check", history, "--json"]).end()
                #expect(check.code == 0, "\(check.output)")
                #expect(try check.json()["transactions"] as? Int == result["transactions"] as? Int)
            }
        }

        @Test("a recovery that is wrong on purpose is found", arguments: ["bank", "list-append"])
        func bites(_ workload: String) async throws {
            let run = try await ProgramRun(
                ["chaos", "run", "--seed", "5", "--seconds", "12", "--workload", workload, "--faults", "recovery,coordinator", "--json"],
                environment: ["TANDEM_FAILPOINTS": "recovery_presumes_abort=error"]
            ).end()
            #expect(run.code == 3, "\(run.talk)")
            // What a violated run leaves is kept, and said where.
            let kept = try #require(run.talk.split(separator: "\n").last { $0.contains("are kept in") }?.split(separator: " ").last.map(String.init))
            #expect(FileManager.default.fileExists(atPath: "\(kept)/history-run.jsonl"))
            try FileManager.default.removeItem(atPath: kept)
            let result = try run.json()
            #expect(result["verdict"] as? String == "violated" && (result["violations"] as? Int ?? 0) > 0)
            let findings = try #require(result["findings"] as? [[String: any Sendable]])
            #expect(findings.contains { ["lost-write", "half-committed"].contains($0["kind"] as? String) && $0["isViolation"] as? Bool == true })
        }

        @Test("it works on no nodes but its own, and refuses what it does not know")
        func refusals() async throws {
            #expect(try await tandem("chaos", "run", "-c", "tandem.yaml").code == 8)
            let unknown = try await tandem("chaos", "run", "--faults", "kill,earthquake")
            #expect(unknown.code == 2 && unknown.talk.contains("earthquake") && unknown.talk.contains("partition"))
            #expect(try await tandem("chaos", "run", "--seconds", "0").code == 2)
            #expect(try await tandem("chaos", "check", "/nonexistent").code == 4)
        }

        @Test("a history with a half transaction is exit code 3, and one that is none names the line")
        func check() async throws {
            try await withFolder { folder in
                let path = "\(folder)/h.jsonl"
                let lines = [
                    #"{"process":1,"type":"invoke","f":"txn","value":[["append",1,5],["append",2,6]],"time":1,"transaction":"a"}"#,
                    #"{"process":-1,"type":"ok","f":"txn","final":true,"value":[["r",1,[5]],["r",2,[]]],"time":2}"#,
                ]
                try (lines.joined(separator: "\n") + "\n").write(toFile: path, atomically: true, encoding: .utf8)
                let half = try await tandem("chaos", "check", path)
                #expect(half.code == 3 && half.output.contains("half-committed"), "\(half.output)")
                try "{\"f\":\"txn\"}\nnonsense\n".write(toFile: path, atomically: true, encoding: .utf8)
                let malformed = try await tandem("chaos", "check", path)
                #expect(malformed.code == 2 && malformed.talk.contains("line 1"), "\(malformed.talk)")
                #expect(try await tandem("chaos", "replay", path).code == 2)
            }
        }

        @Test("interrupted, it ends its coordinators and its nodes")
        func interrupted() async throws {
            let run = try ProgramRun(["chaos", "run", "--seed", "2", "--seconds", "60", "--faults", "reset"])
            try await until("a fault happened") { run.talk.contains("reset") }
            run.send(SIGINT)
            let end = await run.end()
            #expect(end.code == 130, "\(end.talk)")
        }

        private func withFolder(_ body: (String) async throws -> Void) async throws {
            let folder = FileManager.default.temporaryDirectory.appending(path: "tandem-chaos-\(UUID().uuidString)").path
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(atPath: folder) }
            try await body(folder)
        }
    }
}
