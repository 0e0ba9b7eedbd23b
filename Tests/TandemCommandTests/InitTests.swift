import Foundation
import Testing

extension BuiltProgram {
    @Suite("tandem init")
    struct InitTests {
        @Test("four at once change each node once, and a later one changes nothing")
        func concurrently() async throws {
            try await withNodes { nodes in
                for node in ["n1", "n2"] { try await nodes.sql(node, "CREATE DATABASE fresh OWNER tandem", superuser: true) }
                let text = try String(contentsOfFile: nodes.configuration, encoding: .utf8)
                let path = "\(nodes.folder)-fresh.yaml"
                defer { try? FileManager.default.removeItem(atPath: path) }
                try Data(text.replacing("dbname='tandem'", with: "dbname='fresh'").utf8).write(to: URL(fileURLWithPath: path))

                let early = try await tandem("-c", path, "recover", "--once")
                #expect(early.code == 5 || early.code == 3, "\(early.talk)")
                #expect(early.talk.contains("tandem init"))
                let script = try await tandem("-c", path, "init", "--print-sql")
                #expect(script.code == 0, "\(script.talk)")
                #expect(script.output.contains("-- node n1\n") && script.output.contains("CREATE SCHEMA"))

                let runs = try (0..<4).map { _ in try ProgramRun(["init", "-c", path, "--json"]) }
                var changed: [[Bool]] = []
                for run in runs {
                    let end = await run.end()
                    #expect(end.code == 0, "\(end.talk)")
                    let nodes = try #require(try end.json()["nodes"] as? [[String: any Sendable]])
                    changed.append(nodes.compactMap { $0["isChanged"] as? Bool })
                }
                #expect(changed.filter { $0 == [true, true] }.count == 1)
                #expect(changed.filter { $0 == [false, false] }.count == 3)
                let again = try await tandem("-c", path, "init")
                #expect(again.code == 0)
                #expect(again.output == "NODE  NUMBER  SCHEMA  CHANGED\nn1    1       3       no\nn2    2       3       no\n")
                #expect(try await tandem("-c", path, "recover", "--once").code == 0)
            }
        }
    }
}
