import TandemCluster
import TandemCore
import TandemTestSupport
import Testing

@testable import TandemTransactions

@Suite("A script on nodes")
struct SQLScriptTests {
    @Test("each node runs all of it or nothing, and one that fails does not hold up the others")
    func together() async throws {
        try await withCluster { test in
            let script = SQLScript("UPDATE account SET balance = balance + 1 WHERE id <= 3; CREATE TABLE made (id int); INSERT INTO made VALUES (1), (2);")
            try await test.value("n2", "CREATE TABLE made (id int)")
            let ends = try await script.run(on: ["n1", "n2"], of: test.cluster, isSingle: false, timeout: .seconds(30))
            #expect(ends.map(\.node) == ["n1", "n2"] && ends.map(\.rows) == [[3, 0, 2], []])
            #expect(ends[0].error == nil && ends[1].error?.sqlState == .duplicateTable)
            #expect(try await test.balance("n1", 1) == TestCluster.balance + 1)
            #expect(try await test.balance("n2", 1) == TestCluster.balance)
        }
    }

    @Test("one by one it runs what no transaction can hold, and says how far it came")
    func single() async throws {
        try await withCluster(1) { test in
            let ends = try await SQLScript("VACUUM account; CREATE INDEX CONCURRENTLY i ON account (balance); SELECT 1/0; SELECT 2").run(
                on: ["n1"], of: test.cluster, isSingle: true, timeout: .seconds(30))
            #expect(ends[0].statements == 2 && ends[0].error?.sqlState?.rawValue == "22012")
            let isValid = try await test.value("n1", "SELECT indisvalid FROM pg_index WHERE indexrelid = 'i'::regclass")
            #expect(isValid == "t")
        }
    }

    @Test("a file that would end a transaction, or names no node, is refused before anything is sent")
    func refused() async throws {
        try await withCluster(1) { test in
            let commit = await refusal {
                try await SQLScript("UPDATE account SET balance = 0; COMMIT").run(on: ["n1"], of: test.cluster, isSingle: false, timeout: .seconds(30))
            }
            #expect(commit?.code == .statementRefused)
            let node = await refusal { try await SQLScript("SELECT 1").run(on: ["n1", "n7"], of: test.cluster, isSingle: false, timeout: .seconds(30)) }
            #expect(node?.code == .unknownNode)
            let balance = try await test.balance("n1", 1)
            #expect(balance == TestCluster.balance)
        }
    }
}
