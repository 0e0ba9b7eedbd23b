import Foundation
import Testing

/// Nodes of `tandem dev` for one test.
struct DevNodes: Sendable {
    let folder: String

    var configuration: String { "\(folder)/tandem.yaml" }

    /// Runs a command on the nodes' configuration; its results come as JSON.
    func tandem(_ arguments: String..., environment: [String: String] = [:], input: String = "") async throws -> ProgramRun.End {
        try await start(arguments, environment: environment, input: input).end()
    }

    func start(_ arguments: [String], environment: [String: String] = [:], input: String = "", output: String? = nil) throws -> ProgramRun {
        try ProgramRun(["-c", configuration, "--json"] + arguments, environment: environment, input: input, output: output)
    }

    func fault(_ kind: String, _ node: String) async throws {
        let end = try await TandemCommandTests.tandem("dev", "fault", kind, node, "--dir", folder)
        try #require(end.code == 0, "\(end.talk)")
    }

    /// What a statement answers on a node.
    @discardableResult
    func sql(_ node: String, _ statement: String, superuser: Bool = false) async throws -> String {
        let flags = superuser ? ["--superuser"] : []
        let end = try await ProgramRun(
            ["dev", "psql", node, "--dir", folder] + flags + ["--", "--no-psqlrc", "-qtA", "-v", "ON_ERROR_STOP=1", "-c", statement]
        ).end()
        try #require(end.code == 0, "\(statement): \(end.talk)")
        return end.output.trimmingCharacters(in: .newlines)
    }

    /// Accounts 1 and 2 with 100 each on each node.
    func makeAccounts(on nodes: String...) async throws {
        for node in nodes {
            try await sql(
                node, "CREATE TABLE account (id int PRIMARY KEY, balance numeric NOT NULL); INSERT INTO account VALUES (1, 100), (2, 100)")
        }
    }

    /// The balances on both nodes, and how many branches are prepared there.
    func state() async throws -> (balances: [String], prepared: Int) {
        var balances: [String] = []
        var prepared = 0
        for node in ["n1", "n2"] {
            balances.append(try await sql(node, "SELECT balance FROM account WHERE id = 1"))
            prepared += Int(try await sql(node, "SELECT count(*) FROM pg_prepared_xacts WHERE gid LIKE 'tandem1:%'")) ?? 0
        }
        return (balances, prepared)
    }

    /// Moves 1.10 from account 1 of n1 to account 1 of n2, the commit point.
    static let transfer = """
        operations:
          - node: n1
            sql: UPDATE account SET balance = balance - $1 WHERE id = $2 RETURNING balance, id
            params: [1.10, 1]
            expect: {rows: 1}
          - node: n2
            sql: UPDATE account SET balance = balance + $1 WHERE id = $2
            params: ["1.10", 1]
            expect: {rows: 1}

        """
}

/// Gives the body nodes in memory, and removes them afterwards.
func withNodes<Value>(_ count: Int = 2, _ body: (DevNodes) async throws -> Value) async throws -> Value {
    try await withDevFolder { folder in
        let end = try await tandem("dev", "--dir", folder, "--nodes", String(count), "--ephemeral", "--detach", "--json")
        try #require(end.code == 0, "\(end.talk)")
        return try await body(DevNodes(folder: folder))
    }
}

/// Gives the body a folder for nodes, and afterwards ends what runs there and removes it.
func withDevFolder<Value>(_ body: (String) async throws -> Value) async throws -> Value {
    let folder = "/var/tmp/tandem-command-test-\(UUID().uuidString.lowercased())"
    do {
        let value = try await body(folder)
        let end = try await tandem("dev", "reset", "--dir", folder)
        #expect(end.code == 0, "\(end.talk)")
        return value
    } catch {
        _ = try? await tandem("dev", "reset", "--dir", folder)
        throw error
    }
}
