import Foundation
import TandemCluster
import TandemCore
import TandemLocal
import TandemPostgres
import TandemSagas
import TandemTestKit
import TandemTransactions

/// `tandem chaos run`: coordinators as processes of their own, faults by a schedule, then everything is healed, recovered and checked.
package struct ChaosRun: Sendable {
    /// How long recovery may take after the load has ended, and how long a transaction's outcome is asked for.
    static let recoveryLimit = Duration.seconds(60), outcomeLimit = Duration.seconds(5)
    static let patience = Duration.seconds(30)

    let options: ChaosOptions
    private let program: String
    let folder: String
    let path: String
    let progress: @Sendable (String) -> Void

    /// - Parameters:
    ///   - options: what it is made of.
    ///   - program: this program's path, which its coordinators run.
    ///   - folder: an empty folder for what the run needs; whoever made it removes it.
    ///   - history: where the history goes.
    ///   - progress: told what happens, for people.
    /// - Throws: `configurationInvalid`.
    package init(
        _ options: ChaosOptions, program: String, folder: String, history: String, progress: @Sendable @escaping (String) -> Void
    ) throws {
        try options.check()
        self.options = options
        self.program = program
        self.folder = folder
        path = history
        self.progress = progress
    }

    /// Runs it on nodes of its own, which end with it.
    ///
    /// - Returns: what it brought.
    /// - Throws: `localNodeFailed` and kin where it could not be run. Cancellation ends coordinators and nodes.
    package func run() async throws -> ChaosResult {
        progress("starting \(options.nodes) nodes; seed \(options.seed)")
        var local = LocalClusterOptions(directory: "\(folder)/nodes", nodeCount: options.nodes, isEphemeral: true)
        // Processes are killed here, never the machine: what was written is there.
        local.fsync = false
        return try await withLocalServers(local) { servers in
            var configuration = try ClusterConfiguration("chaos", nodes: servers.nodes.map { NodeConfiguration($0.name, conninfo: $0.socketConninfo) })
            configuration.recoveryInterval = CoordinatorPlan.recoveryInterval
            configuration.recoveryGrace = CoordinatorPlan.recoveryGrace
            _ = try await Initialiser(configuration, modules: [.sagas]).run()
            let cluster = try Cluster(configuration)
            defer { cluster.close() }
            for node in servers.nodes {
                for statement in options.workload.schema { _ = try await Self.ask(cluster, node.name, statement) }
            }
            return try await Self.withProxies(options.coordinators, servers.nodes, []) { proxies in
                try await load(servers, cluster, proxies)
            }
        }
    }

    /// Gives the body a proxy for each coordinator and node.
    private static func withProxies<Value: Sendable>(
        _ coordinators: Int, _ nodes: [LocalNode], _ sofar: [FaultProxy], _ body: @Sendable @escaping ([[FaultProxy]]) async throws -> Value
    ) async throws -> Value {
        guard sofar.count < coordinators * nodes.count else {
            return try await body((0..<coordinators).map { Array(sofar[($0 * nodes.count)..<(($0 + 1) * nodes.count)]) })
        }
        let node = nodes[sofar.count % nodes.count]
        return try await withFaultProxy(to: .init(host: "127.0.0.1", port: node.port)) { proxy in
            try await withProxies(coordinators, nodes, sofar + [proxy], body)
        }
    }

    private func load(_ servers: LocalCluster, _ cluster: Cluster, _ proxies: [[FaultProxy]]) async throws -> ChaosResult {
        let begin = MonotonicTime.now
        let coordinators = (0..<options.coordinators).map { number in
            CoordinatorProcess(number: number, program: program, folder: folder) { incarnation in
                CoordinatorPlan(
                    options: options, number: number, incarnation: incarnation, cluster: cluster.configuration.name,
                    nodes: zip(servers.nodes, proxies[number]).map { node, proxy in
                        CoordinatorPlan.Node(
                            name: node.name,
                            conninfo: "host=127.0.0.1 port=\(proxy.port) dbname=\(node.database) user=\(node.user) sslmode=disable gssencmode=disable",
                            password: node.password)
                    },
                    history: "\(folder)/history-\(number)-\(incarnation).jsonl", start: begin)
            }
        }
        let history = try HistoryWriter(path: "\(folder)/history-run.jsonl")
        let watch = PreparedWatch(cluster)
        var counts: [FaultKind: Int] = [:]
        var left = 0
        do {
            for coordinator in coordinators { try coordinator.start() }
            let nemesis = Nemesis(servers, cluster, coordinators, proxies, history, watch, progress)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await watch.run() }
                group.addTask {
                    let start = ContinuousClock.now
                    try await nemesis.run(options.schedule, from: start)
                    try await Task.sleep(until: start + .seconds(options.seconds))
                }
                // The watch never ends by itself.
                try await group.next()
                group.cancelAll()
            }
            counts = nemesis.counts
            progress("everything is healed; the coordinators end")
            await withTaskGroup(of: Void.self) { group in for coordinator in coordinators { group.addTask { await coordinator.stop() } } }
            left = try await recover(cluster, watch)
        } catch {
            for coordinator in coordinators { await coordinator.kill() }
            throw error
        }
        return try await conclude(cluster, watch, history, counts: counts, died: coordinators.filter { $0.failures > 0 }.map(\.number), left: left)
    }

    /// Recovery as any process runs it, until nothing is prepared; how many branches are left.
    private func recover(_ cluster: Cluster, _ watch: PreparedWatch) async throws -> Int {
        watch.healed()
        return try await withThrowingTaskGroup(of: Int?.self) { group in
            group.addTask {
                do { try await cluster.run() } catch is CancellationError {}
                return nil
            }
            group.addTask { try await watch.untilNothingIsPrepared(within: Self.recoveryLimit) }
            defer { group.cancelAll() }
            while let next = try await group.next() {
                if let next { return next }
            }
            throw CancellationError()
        }
    }
}
