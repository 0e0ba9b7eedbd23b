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
                #expect(empty.output == #"{"transactions":[],"unreachable":[]}"# + "\n")

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
