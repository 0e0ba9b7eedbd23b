import Foundation
import Glibc
import Testing

extension BuiltProgram {
    @Suite("tandem tx ls, show, wait and resolve")
    struct InDoubtTests {
        @Test("a transaction whose coordinator died is listed, shown, found by the end of its id, and resolved only as its register says")
        func listed() async throws {
            try await withNodes { nodes in
                try await nodes.makeAccounts(on: "n1", "n2")
                let empty = try await nodes.tandem("tx", "ls")
                #expect(empty.code == 0)
                #expect(empty.output == #"{"transactions":[],"contradictions":[],"unreachable":[]}"# + "\n")

                let id = "018f3e2a-7c4b-7d11-9a52-0123456789ab"
                let run = try await nodes.tandem(
                    "tx", "run", "-", environment: ["TANDEM_FAILPOINTS": "after_decision=kill"], input: DevNodes.transfer + "id: \(id)\n")
                #expect(run.code == 128 + SIGKILL, "\(run.talk)")

                let list = try await nodes.tandem("tx", "ls", "--in-doubt").json()
                let transactions = try #require(list["transactions"] as? [[String: any Sendable]])
                #expect(transactions.compactMap { $0["transaction"] as? String } == [id])
                let table = try await tandem("tx", "ls", "-c", nodes.configuration)
                #expect(table.output.contains("456789ab     committed"), "\(table.output)")

                let show = try await nodes.tandem("tx", "show", "789ab").code
                #expect(show == 2 || show == 4, "five characters are too few")
                let shown = try await nodes.tandem("tx", "show", "6789ab").json()
                #expect(shown["transaction"] as? String == id)
                #expect(shown["outcome"] as? String == "committed")
                #expect(shown["commitPoint"] as? String == "n2")
                let branches = try #require(shown["branches"] as? [[String: any Sendable]])
                #expect(branches.compactMap { $0["state"] as? String }.sorted() == ["committed", "prepared"])

                #expect(try await nodes.tandem("tx", "show", "ffffff").code == 4)
                let against = try await nodes.tandem("tx", "resolve", id, "--rollback", "--reason", "a test")
                #expect(against.code == 8, "\(against.talk)")
                #expect(try await nodes.state() == (["100", "101.10"], 1))
                let resolved = try await nodes.tandem("tx", "resolve", id, "--commit", "--reason", "a test")
                #expect(resolved.code == 0, "\(resolved.talk)")
                #expect(try await nodes.state() == (["98.90", "101.10"], 0))
                let waited = try await nodes.tandem("tx", "wait", "6789ab")
                #expect(waited.code == 0)
                #expect(waited.output == #"{"transaction":"\#(id)","outcome":"committed"}"# + "\n")
            }
        }

        @Test("a branch that somebody rolled back against its decision is found, listed by tx ls and doctor with exit code 3, and left out once it is accepted")
        func contradiction() async throws {
            try await withNodes { nodes in
                try await nodes.makeAccounts(on: "n1", "n2")
                let file = try String(contentsOfFile: nodes.configuration, encoding: .utf8)
                try (file + "\nrecovery: {audit: 1s}\n").write(toFile: nodes.configuration, atomically: true, encoding: .utf8)
                // Whoever looks after the cluster has looked before, and ended.
                let before = try nodes.start(["serve"])
                try await until("the nodes were compared") {
                    try await nodes.sql("n1", "SELECT count(*) FROM tandem.operation WHERE what = 'compared'") == "1"
                }
                before.send(SIGKILL)
                _ = await before.end()
                _ = try await nodes.tandem("tx", "run", "-", environment: ["TANDEM_FAILPOINTS": "after_decision=kill"], input: DevNodes.transfer)
                let gid = try await nodes.sql("n1", "SELECT gid FROM pg_prepared_xacts")
                let id = String(gid.split(separator: ":")[2])
                try await nodes.sql("n1", "ROLLBACK PREPARED '\(gid)'")
                let audit = try await nodes.tandem("audit")
                #expect(audit.code == 3 && audit.output.contains(id), "\(audit.output)")
                // Nobody has looked yet; whoever looks after the cluster does, at once.
                #expect(try await nodes.tandem("tx", "ls").code == 0)
                let serve = try nodes.start(["serve"])
                try await until("the contradiction is listed") { try await nodes.tandem("tx", "ls").code == 3 }
                serve.send(SIGTERM)
                _ = await serve.end()

                let list = try await nodes.tandem("tx", "ls").json()
                let found = try #require(list["contradictions"] as? [[String: any Sendable]])
                #expect(found.count == 1 && found[0]["transaction"] as? String == id && found[0]["kind"] as? String == "lost")
                #expect(found[0]["committed"] as? String == "n2" && found[0]["missing"] as? String == "n1")
                let table = try await tandem("tx", "ls", "-c", nodes.configuration)
                #expect(table.code == 3 && table.output.contains("COMMITTED ON"), "\(table.output)")
                let doctor = try await nodes.tandem("doctor")
                #expect(doctor.code == 3 && doctor.output.contains("contradictions"), "\(doctor.output)")

                #expect(try await nodes.tandem("audit", "--accept", id).code == 2)
                #expect(try await nodes.tandem("audit", "--accept", "xyz", "--reason", "y").code == 2)
                #expect(try await nodes.tandem("audit", "--accept", id, "--reason", "account 1 was corrected").code == 0)
                #expect(try await nodes.tandem("tx", "ls").code == 0)
            }
        }

        @Test("a wish without a reason, without a direction or with both is 2")
        func mistakes() async throws {
            for arguments in [
                ["--commit"], ["--reason", "x"], ["--commit", "--reason", " "], ["--commit", "--rollback", "--reason", "x"],
            ] {
                #expect(try await ProgramRun(["tx", "resolve", "018f3e2a-7c4b-7d11-9a52-0123456789ab"] + arguments).end().code == 2)
            }
        }
    }
}
