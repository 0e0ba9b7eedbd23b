import TandemCluster
import TandemCore
import TandemPostgres

/// The tables that a benchmark moves money between.
struct BenchAccounts: Sendable {
    private static let patience = Duration.seconds(120)

    let cluster: Cluster
    let nodes: [NodeName]
    let count: Int

    func create() async throws {
        for node in nodes {
            _ = try await run("DROP TABLE IF EXISTS tandem_bench_account", on: node)
            _ = try await run("CREATE TABLE tandem_bench_account (id integer PRIMARY KEY, balance bigint NOT NULL) WITH (fillfactor = 70)", on: node)
            _ = try await run("INSERT INTO tandem_bench_account SELECT n, 1000 FROM generate_series(1, \(count)) n", on: node)
            _ = try await run("VACUUM ANALYZE tandem_bench_account", on: node)
            _ = try await run("CHECKPOINT", on: node, isOptional: true)
        }
    }

    func drop() async throws {
        for node in nodes { _ = try await run("DROP TABLE tandem_bench_account", on: node) }
    }

    /// All the money, over all nodes.
    func total() async throws -> Int64 {
        var sum: Int64 = 0
        for node in nodes {
            sum += try await run("SELECT sum(balance)::bigint FROM tandem_bench_account", on: node).text(0, 0).flatMap { Int64($0) } ?? 0
        }
        return sum
    }

    /// The register with its index, in MiB, on the node where it is largest.
    func largestRegister() async throws -> Double {
        var largest = 0.0
        for node in nodes {
            let size = try await run("SELECT pg_catalog.pg_total_relation_size('tandem.branch')", on: node).text(0, 0).flatMap { Double($0) } ?? 0
            largest = max(largest, size / 1_048_576)
        }
        return largest
    }

    /// Prepared transactions of the cluster, over all nodes.
    func prepared() async throws -> Int {
        var sum = 0
        for node in nodes {
            let text = "SELECT count(*) FROM pg_catalog.pg_prepared_xacts WHERE database = current_database()"
            sum += try await run(text, on: node).text(0, 0).flatMap { Int($0) } ?? 0
        }
        return sum
    }

    @discardableResult
    private func run(_ sql: String, on node: NodeName, isOptional: Bool = false) async throws -> ResultSet {
        let reply = try await cluster.runControl(node, Batch([Statement(sql, isPrepared: false)]), within: Self.patience).only
        if let error = reply.error, !isOptional { throw TandemError(error, node: node, phase: "bench") }
        guard let result = reply.results.last else {
            if isOptional { return try await run("SELECT 1", on: node) }
            throw TandemError(.protocolViolation, "the server sent no answer", node: node)
        }
        return result
    }
}
