import Glibc
package import TandemCluster
import TandemCore
import TandemPostgres
import TandemTransactions

/// `tandem bench commit --soak`: whether a long run stays as fast and as small as it began, with recovery and retention at work beside it.
package struct SoakBench: Sendable {
    /// One part of the run.
    package struct Sample: Sendable, Codable {
        /// Since the start, at the sample's end.
        package let seconds: Double
        package let tps: Double
        package let rss_mib: Double
        /// The register with its index, on the node where it is largest.
        package let register_mib: Double
    }

    /// What was measured.
    package struct Result: Sendable, Codable {
        package let clients: Int
        package var samples: [Sample] = []
        /// Throughput of the last minute over that of the second one (of the last part over the second where the run is shorter).
        package var last_to_second = 0.0
        /// Memory at the end over that after the first minute, less one.
        package var rss_growth = 0.0
        package var register_max_mib = 0.0
        package var money_is_constant = false
        package var prepared_after = 0

        /// Whether nothing was lost: otherwise no figure counts.
        package var isSound: Bool { money_is_constant && prepared_after == 0 }
    }

    private static let accounts = 100_000

    private let configuration: ClusterConfiguration
    private let clients: Int
    private let seconds: Int
    private let progress: @Sendable (String) -> Void

    /// - Parameters:
    ///   - configuration: initialised nodes, on which a table `tandem_bench_account` is made anew. Rows are kept for a minute.
    ///   - clients: clients that each run one transaction after the other.
    ///   - seconds: how long.
    ///   - progress: told what is being done.
    package init(_ configuration: ClusterConfiguration, clients: Int, seconds: Int, progress: @escaping @Sendable (String) -> Void) {
        var configuration = configuration.sized(for: clients)
        configuration.retention = .seconds(60)
        self.configuration = configuration
        self.clients = clients
        self.seconds = seconds
        self.progress = progress
    }

    /// Runs, and looks once a minute.
    package func run() async throws -> Result {
        let cluster = try Cluster(configuration)
        defer { cluster.close() }
        let nodes = configuration.nodes.map(\.name)
        let accounts = BenchAccounts(cluster: cluster, nodes: nodes, count: Self.accounts)
        progress("filling \(Self.accounts) accounts on each of \(nodes.count) nodes")
        try await accounts.create()
        let before = try await accounts.total()
        try await cluster.fillPools()
        var result = Result(clients: clients)
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { try await cluster.run() }
            let loop = BenchLoop(line: .tandem, cluster: cluster, nodes: nodes, accounts: Self.accounts, keepsLatencies: false)
            let start = ContinuousClock.now
            var left = seconds
            while left > 0 {
                let part = min(60, left)
                left -= part
                let measured = try await loop.run(clients: clients, seconds: Double(part))
                let sample = Sample(
                    seconds: (ContinuousClock.now - start).inSeconds, tps: measured.perSecond, rss_mib: Self.memory(),
                    register_mib: try await accounts.largestRegister())
                result.samples.append(sample)
                progress("\(Int(sample.seconds)) s: \(Int(sample.tps)) a second, \(Int(sample.rss_mib)) MiB, register \(Int(sample.register_mib)) MiB")
            }
            group.cancelAll()
        }
        let samples = result.samples
        if let last = samples.last, let first = samples.first {
            result.last_to_second = last.tps / (samples.count > 1 ? samples[1].tps : first.tps)
            result.rss_growth = last.rss_mib / first.rss_mib - 1
        }
        result.register_max_mib = samples.map(\.register_mib).max() ?? 0
        result.money_is_constant = try await accounts.total() == before
        result.prepared_after = try await accounts.prepared()
        try await accounts.drop()
        return result
    }

    /// What this process holds in memory now, in MiB.
    private static func memory() -> Double {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var pages: [CChar] = Array(repeating: 0, count: 128)
        guard fgets(&pages, Int32(pages.count), file) != nil else { return 0 }
        let text = String(decoding: pages.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let resident = text.split(separator: " ").dropFirst().first.flatMap { Double($0) } ?? 0
        return resident * Double(sysconf(Int32(_SC_PAGESIZE))) / 1_048_576
    }
}
