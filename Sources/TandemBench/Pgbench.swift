import Foundation
import TandemCluster
import TandemLocal

/// The server's own benchmark client, with the same UPDATE: what a loop in C reaches.
struct Pgbench: Sendable {
    let path: String
    let accounts: Int

    /// Runs one `pgbench` a node at the same time, the clients shared among them.
    func run(_ nodes: [NodeConfiguration], clients: Int, seconds: Double) async throws -> Measurement {
        let script = FileManager.default.temporaryDirectory.appendingPathComponent("tandem-bench-\(UUID().uuidString).sql")
        // Adding nothing costs the server the same and leaves the money as it is.
        try """
        \\set id random(1, \(accounts))
        \\set amount 0
        UPDATE tandem_bench_account SET balance = balance + :amount WHERE id = :id;
        """.write(to: script, atomically: true, encoding: .utf8)
        defer { try? FileManager.default.removeItem(at: script) }
        let outputs = try await withThrowingTaskGroup(of: String.self) { group in
            for (index, node) in nodes.enumerated() {
                let share = clients / nodes.count + (index < clients % nodes.count ? 1 : 0)
                if share == 0 { continue }
                group.addTask { try await launch(node, clients: share, seconds: seconds, script: script.path) }
            }
            var outputs: [String] = []
            for try await output in group { outputs.append(output) }
            return outputs
        }
        var measurement = Measurement()
        measurement.seconds = seconds
        for output in outputs {
            measurement.transactions += Int((Self.number(after: "tps = ", in: output) ?? 0) * seconds)
            if let latency = Self.number(after: "latency average = ", in: output) { measurement.milliseconds.append(latency) }
        }
        return measurement
    }

    private func launch(_ node: NodeConfiguration, clients: Int, seconds: Double, script: String) async throws -> String {
        try await ProgramOutput.of(
            [
                path, "--no-vacuum", "--protocol=prepared", "--client=\(clients)", "--jobs=1", "--time=\(Int(seconds))", "--file=\(script)", node.conninfo,
            ], environment: node.password.map { ["PGPASSWORD=\($0.value)"] } ?? [], within: .seconds(seconds + 60))
    }

    private static func number(after label: String, in text: String) -> Double? {
        guard let range = text.range(of: label) else { return nil }
        return Double(text[range.upperBound...].prefix { $0.isNumber || $0 == "." })
    }
}
