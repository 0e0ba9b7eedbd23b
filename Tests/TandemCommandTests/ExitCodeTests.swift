import Foundation
import TandemCore
import Testing

@testable import TandemCommand

@Suite("Exit codes")
struct ExitCodeTests {
    @Test(
        "a mistake on the command line is 2, and says how it is written",
        arguments: [
            ["bogus"], ["tx", "run"], ["tx", "run", "x", "--output", "xml"], ["recover"], ["recover", "--once", "--grace", "5"],
            ["dev", "--nodes", "0"],
            ["dev", "psql", "not a name"],
        ])
    func usage(arguments: [String]) async throws {
        let end = try await ProgramRun(arguments).end()
        #expect(end.code == 2)
        #expect(end.output == "")
        #expect(end.talk.contains("Usage: tandem"), "\(end.talk)")
    }

    @Test("help and version are data", arguments: ["--help", "--version"])
    func help(flag: String) async throws {
        let end = try await tandem(flag)
        #expect(end.code == 0)
        #expect(!end.output.isEmpty && end.talk.isEmpty)
    }

    @Test("a configuration that is not there is 2, from the option, the variable and the folder")
    func configuration() async throws {
        let option = try await tandem("-c", "/nonexistent/a.yaml", "config", "check", environment: ["TANDEM_CONFIG": "/nonexistent/b.yaml"])
        #expect(option.code == 2 && option.talk.contains("/nonexistent/a.yaml"))
        let variable = try await tandem("config", "check", "--json", environment: ["TANDEM_CONFIG": "/nonexistent/b.yaml"])
        #expect(variable.code == 2 && variable.talk.contains("/nonexistent/b.yaml"))
        let error = try #require(try variable.json()["error"] as? [String: any Sendable])
        #expect(error["code"] as? String == "configurationInvalid")
        #expect((error["nextStep"] as? String)?.contains("TANDEM_CONFIG") == true)
        #expect(try await tandem("config", "check").talk.contains("no file tandem.yaml"))
    }

    @Test("failpoints that are armed are told, and a wrong specification is 2")
    func failpoints() async throws {
        #expect(
            try await tandem("--version", environment: ["TANDEM_FAILPOINTS": "after_prepare=off"]).talk.contains("failpoints are armed"))
        #expect(try await tandem("--version", environment: ["TANDEM_FAILPOINTS": "nonsense"]).code == 2)
    }

    @Test("where nothing listens on a node's port, recovery exits with 5 and says which node")
    func unreachable() async throws {
        let path = "\(NSTemporaryDirectory())/tandem-\(UUID().uuidString).yaml"
        defer { try? FileManager.default.removeItem(atPath: path) }
        try Data("cluster: c\nnodes:\n  far: {conninfo: host=127.0.0.1 port=1 dbname=x}\n".utf8).write(to: URL(fileURLWithPath: path))
        let end = try await tandem("recover", "--once", "-c", path)
        #expect(end.code == 5)
        #expect(end.talk.contains("far"))
        #expect(try await tandem("init", "-c", path).code == 5)
    }
}
