import Foundation
package import TandemCluster
import TandemCore
import TandemPostgres
import TandemTransactions

/// `tandem bench lines`: `tandem tx run --jsonl` as a process of its own, beside the line `tandem` of `bench commit` with as many clients.
package struct LinesBench: Sendable {
    /// What was measured.
    package struct Result: Sendable, Codable {
        package let clients: Int
        package let rounds: Int
        /// Results a second, once the first second of a round is over: the other side is warmed up for a second as well.
        package var lines_per_second = 0.0
        package var tandem_per_second = 0.0
        package var ratio: CommitBench.Ratio
        /// Lines that were not committed.
        package var not_committed = 0
        package var money_is_constant = false
        package var prepared_after = 0

        /// Whether nothing was lost: otherwise no figure counts.
        package var isSound: Bool { money_is_constant && prepared_after == 0 && not_committed == 0 }
    }

    private static let rounds = 3, accounts = 100_000

    private let configuration: ClusterConfiguration
    private let clients: Int
    private let seconds: Double
    private let program: String
    private let progress: @Sendable (String) -> Void

    /// - Parameters:
    ///   - configuration: initialised nodes, on which a table `tandem_bench_account` is made anew.
    ///   - clients: transactions that run at a time.
    ///   - seconds: how long each side runs a round, about.
    ///   - program: the path of `tandem`.
    ///   - progress: told what is being done.
    package init(
        _ configuration: ClusterConfiguration, clients: Int, seconds: Int, program: String, progress: @escaping @Sendable (String) -> Void
    ) {
        self.configuration = configuration.sized(for: clients)
        self.clients = clients
        self.seconds = Double(seconds)
        self.program = program
        self.progress = progress
    }

    /// Measures: in each round one after the other, with as many lines as the bench has just run transactions.
    package func run() async throws -> Result {
        let cluster = try Cluster(configuration)
        defer { cluster.close() }
        let nodes = configuration.nodes.map(\.name)
        let accounts = BenchAccounts(cluster: cluster, nodes: nodes, count: Self.accounts)
        progress("filling \(Self.accounts) accounts on each of \(nodes.count) nodes")
        try await accounts.create()
        let before = try await accounts.total()
        try await cluster.fillPools()
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("tandem-bench-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        try write(folder)
        let loop = BenchLoop(line: .tandem, cluster: cluster, nodes: nodes, accounts: Self.accounts, keepsLatencies: false)
        _ = try await loop.run(clients: clients, seconds: 1)
        var own: [Double] = [], other: [Double] = []
        var failed = 0
        for round in 1...Self.rounds {
            progress("round \(round) of \(Self.rounds)")
            let measured = try await loop.run(clients: clients, seconds: seconds)
            other.append(measured.perSecond)
            try writeLines(max(1000, measured.transactions + Int(measured.perSecond)), nodes, folder)
            let answered = try await answered(folder)
            own.append(answered.perSecond)
            failed += answered.notCommitted
        }
        var result = Result(clients: clients, rounds: Self.rounds, ratio: CommitBench.Ratio(zip(own, other).map { $0 / $1 }))
        (result.lines_per_second, result.tandem_per_second, result.not_committed) = (own.median, other.median, failed)
        result.money_is_constant = try await accounts.total() == before
        result.prepared_after = try await accounts.prepared()
        try await accounts.drop()
        return result
    }

    private func write(_ folder: URL) throws {
        let nodes = configuration.nodes.map { node in
            "  \(node.name):\n    conninfo: \"\(node.conninfo.replacing("\\", with: "\\\\").replacing("\"", with: "\\\""))\"\n"
                + (node.password == nil ? "" : "    passwordFile: \(node.name).password\n") + "    pooler: \(node.pooler.rawValue)\n"
                + (node.role.map { "    role: \($0)\n" } ?? "")
        }
        for node in configuration.nodes {
            guard let password = node.password else { continue }
            let file = folder.appendingPathComponent("\(node.name).password")
            _ = FileManager.default.createFile(atPath: file.path, contents: Data(password.value.utf8), attributes: [.posixPermissions: 0o600])
        }
        let text = "cluster: \(configuration.name)\ndefaults:\n  pool: {maximum: \(max(2, clients))}\nnodes:\n\(nodes.joined())"
        try text.write(to: folder.appendingPathComponent("tandem.yaml"), atomically: true, encoding: .utf8)
    }

    private func writeLines(_ count: Int, _ nodes: [NodeName], _ folder: URL) throws {
        var random = FastRandom(seed: .random(in: 1 ... .max))
        var text = ""
        for number in 1...count {
            let first = random.next(nodes.count)
            let second = nodes.count > 1 ? (first + 1 + random.next(nodes.count - 1)) % nodes.count : first
            let amount = 1 + random.next(100), row = 1 + random.next(Self.accounts), other = 1 + random.next(Self.accounts)
            func operation(_ node: Int, _ amount: Int, _ row: Int) -> String {
                #"{"node":"\#(nodes[node])","sql":"\#(BenchLoop.update)","params":["\#(amount)","\#(row)"]}"#
            }
            text += #"{"ref":\#(number),"operations":[\#(operation(first, -amount, row)),\#(operation(second, amount, other))]}"# + "\n"
        }
        try text.write(to: folder.appendingPathComponent("lines"), atomically: true, encoding: .utf8)
    }

    /// Runs the file, and looks at the results as they come.
    private func answered(_ folder: URL) async throws -> (perSecond: Double, notCommitted: Int) {
        let process = Process(), output = Pipe()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = ["-c", "\(folder.path)/tandem.yaml", "tx", "run", "--jsonl", "--clients", String(clients), "\(folder.path)/lines"]
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        try process.run()
        let reading = output.fileHandleForReading
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                Thread.detachNewThread {
                    var text = Data(), count = 0
                    var begin: ContinuousClock.Instant?
                    // What is left out, and since when it counts.
                    var warm: (count: Int, at: ContinuousClock.Instant)?
                    while true {
                        let part = reading.availableData
                        if part.isEmpty { break }
                        let now = ContinuousClock.now
                        let start = begin ?? now
                        begin = start
                        text.append(part)
                        count += part.count { $0 == UInt8(ascii: "\n") }
                        if warm == nil, now - start >= .seconds(1) { warm = (count, now) }
                    }
                    let seconds = warm.map { (ContinuousClock.now - $0.at).inSeconds } ?? 0
                    process.waitUntilExit()
                    let committed = Data(#""outcome":"committed""#.utf8)
                    let wrong = text.split(separator: UInt8(ascii: "\n")).count { $0.range(of: committed) == nil }
                    let rate = seconds > 0 ? Double(count - (warm?.count ?? 0)) / seconds : 0
                    continuation.resume(returning: (rate, wrong + (count == 0 ? 1 : 0)))
                }
            }
        } onCancel: {
            process.terminate()
        }
    }
}
