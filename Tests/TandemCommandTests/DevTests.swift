import Foundation
import Glibc
import Testing

extension BuiltProgram {
    @Suite("tandem dev")
    struct DevTests {
        @Test("it prints one ready line, a second start prints the same one, and Ctrl-C ends the nodes")
        func foreground() async throws {
            try await withDevFolder { folder in
                let first = try ProgramRun(["dev", "--dir", folder, "--nodes", "2", "--ephemeral", "--json"])
                try await until("the first is ready") {
                    try await tandem("dev", "status", "--dir", folder).code == 0 && first.output.hasSuffix("\n")
                }
                let second = try await tandem("--json", "dev", "start", "--dir", folder)
                #expect(second.code == 0)
                #expect(second.output == first.output)
                let ready = try second.json()
                #expect(ready["ready"] as? Bool == true)
                #expect(ready["config"] as? String == "\(folder)/tandem.yaml")
                let nodes = try #require(ready["nodes"] as? [[String: String]])
                #expect(nodes.compactMap { $0["name"] } == ["n1", "n2"])
                #expect(nodes.allSatisfy { $0["url"]?.hasPrefix("postgresql://tandem:") == true })
                let password = try #require(nodes[0]["url"]?.split(separator: ":")[2].split(separator: "@").first)
                let configuration = try String(contentsOfFile: "\(folder)/tandem.yaml", encoding: .utf8)
                #expect(!configuration.contains(password))

                first.send(SIGINT)
                let end = await first.end()
                #expect(end.code == 0, "\(end.talk)")
                #expect(try await tandem("dev", "status", "--dir", folder).code == 4)
                #expect(!FileManager.default.fileExists(atPath: folder))
            }
        }

        @Test("the foreground ends when somebody else stops the nodes")
        func stoppedByAnother() async throws {
            try await withDevFolder { folder in
                let run = try ProgramRun(["dev", "--dir", folder, "--nodes", "1", "--ephemeral"])
                try await until("it is ready") {
                    try await tandem("dev", "status", "--dir", folder).code == 0 && run.output.contains("ready")
                }
                #expect(run.output.contains("Not for production"))
                #expect(run.output.contains("try:    tandem dev fault kill n1 --dir \(folder)"))
                #expect(try await tandem("dev", "stop", "--dir", folder).code == 0)
                #expect(await run.end().code == 0)
                #expect(try await tandem("dev", "stop", "--dir", folder).code == 0)
            }
        }

        @Test("a node that is killed, paused, resumed or started is shown so, and psql gets in")
        func faults() async throws {
            try await withNodes { nodes in
                func states() async throws -> [String] {
                    let nodes = try #require(
                        try await tandem("dev", "status", "--dir", nodes.folder, "--json").json()["nodes"] as? [[String: any Sendable]])
                    return nodes.compactMap { $0["state"] as? String }
                }
                #expect(try await states() == ["running", "running"])
                try await nodes.fault("kill", "n2")
                #expect(try await states() == ["running", "stopped"])
                #expect(try await tandem("dev", "--dir", nodes.folder, "--json").code == 0)
                try await nodes.fault("start", "n2")
                try await nodes.fault("pause", "n1")
                #expect(try await states() == ["paused", "running"])
                try await nodes.fault("resume", "n1")
                #expect(try await nodes.sql("n1", "SELECT current_user") == "tandem")
                #expect(try await nodes.sql("n2", "SELECT current_user", superuser: true) == "postgres")
                let unknown = try await tandem("dev", "fault", "kill", "n9", "--dir", nodes.folder)
                #expect(unknown.code == 2)
                #expect(unknown.talk.contains("n1, n2"))
            }
        }

        @Test("somebody's own tandem.yaml is neither overwritten nor removed")
        func foreignConfiguration() async throws {
            let folder = "/var/tmp/tandem-command-test-\(UUID().uuidString.lowercased())"
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(atPath: folder) }
            try Data("cluster: mine\n".utf8).write(to: URL(fileURLWithPath: "\(folder)/tandem.yaml"))
            for command in [["dev", "--detach"], ["dev", "reset"]] {
                let end = try await ProgramRun(command + ["--dir", folder]).end()
                #expect(end.code == 8, "\(end.talk)")
            }
            #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == ["tandem.yaml"])
        }
    }
}
