import ArgumentParser
import Logging
import ServiceLifecycle
import TandemCluster
import TandemCore
import TandemTransactions
import UnixSignals

/// `tandem serve`
struct Serve: AsyncParsableCommand, Reporting {
    static let configuration = CommandConfiguration(
        abstract: "Look after the cluster's transactions until SIGTERM or SIGINT: recovery and clean-up.",
        discussion: "Any number may run anywhere, also beside programs that do the same with the library.")

    @OptionGroup var global: GlobalOptions

    mutating func run() async throws {
        let configuration = try global.configuration(logging: .info)
        let cluster = try Cluster(configuration)
        defer { cluster.close() }
        Talk.say("looking after the cluster \(configuration.name): \(configuration.nodes.map(\.name.rawValue).joined(separator: ", "))")
        let group = ServiceGroup(
            services: [ClusterService(cluster: cluster)], gracefulShutdownSignals: [.sigterm, .sigint], logger: configuration.logger)
        try await group.run()
        Talk.say("ended in order")
    }
}

/// The cluster's own work as a service.
struct ClusterService: Service {
    let cluster: Cluster

    func run() async throws {
        let cluster = cluster
        do {
            try await cancelWhenGracefulShutdown { try await cluster.run() }
        } catch is CancellationError {
            // That is how it is asked to end.
        }
    }
}
