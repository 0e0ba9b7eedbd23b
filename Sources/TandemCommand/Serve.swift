import ArgumentParser
import Logging
import ServiceLifecycle
import TandemCluster
import TandemCore
import TandemHTTPSteps
import TandemIdempotency
import TandemConfiguration
import TandemInbox
import TandemOutbox
import TandemSagas
import TandemTransactions
import UnixSignals

/// `tandem serve`
struct Serve: AsyncParsableCommand, Reporting {
    /// What it looks after.
    enum Part: String, ExpressibleByArgument, CaseIterable {
        case recovery
        case sagas
        case keys
        case outbox
    }

    static let configuration = CommandConfiguration(
        abstract: "Look after the cluster's transactions, sagas, idempotency keys and events until SIGTERM or SIGINT.",
        discussion: "Any number may run anywhere, also beside programs that do the same with the library.")

    @OptionGroup var global: GlobalOptions

    @Option(help: ArgumentHelp("Only these parts: \(Part.allCases.map(\.rawValue).joined(separator: ", ")), with commas between them.", valueName: "parts"))
    var only: String?

    func validate() throws { _ = try parts() }

    private func parts() throws -> [Part] {
        guard let only else { return Part.allCases }
        return try only.split(separator: ",").map { word in
            guard let part = Part(rawValue: String(word)) else {
                throw ValidationError("There is no part `\(word)`: write \(Part.allCases.map(\.rawValue).joined(separator: ", ")).")
            }
            return part
        }
    }

    mutating func run() async throws { try await Self.run(global, try parts()) }

    static func run(_ global: GlobalOptions, _ parts: [Part]) async throws {
        let (configuration, options, outbox) = try global.file(logging: .info)
        let cluster = try Cluster(configuration)
        defer { cluster.close() }
        Talk.say("looking after the cluster \(configuration.name): \(configuration.nodes.map(\.name.rawValue).joined(separator: ", "))")
        var services: [any Service] = []
        if parts.contains(.recovery) { services.append(Work { try await cluster.run() }) }
        if parts.contains(.sagas) {
            var options = options
            options.http = AsyncHTTPStepClient()
            let sagas = try Sagas(cluster, options: options)
            services.append(Work { try await sagas.run() })
        }
        if parts.contains(.keys) {
            // Nodes without keys have nothing to be removed.
            for node in configuration.nodes { services.append(Work { try await TandemIdempotency.Idempotency(cluster, on: node.name).run() }) }
        }
        if parts.contains(.outbox) {
            for node in configuration.nodes {
                services.append(Work { try await Outbox(cluster, on: node.name).run() })
                services.append(Work { try await Inbox(cluster, on: node.name).run() })
            }
            for sink in outbox.sinks { services += try relays(cluster, sink) }
        }
        let group = ServiceGroup(services: services, gracefulShutdownSignals: [.sigterm, .sigint], logger: configuration.logger)
        try await group.run()
        Talk.say("ended in order")
    }
}

extension Serve {
    /// The relays of a sink, one for each of its sources; each makes a sink for each share.
    private static func relays(_ cluster: Cluster, _ sink: OutboxSection.Sink) throws -> [any Service] {
        try sink.sources.map { source in
            if let table = sink.table {
                let target = try EventSinks.sink(sink.kind, cluster)
                let relay = try TableRelay(cluster, from: source, table: table, to: sink.name, target, options: sink.options)
                return Work { try await relay.run() }
            }
            let relay = try OutboxRelay(cluster, from: source, to: sink.name, options: sink.options) { _ in try EventSinks.sink(sink.kind, cluster) }
            return Work { try await relay.run() }
        }
    }
}

/// Long-lived work of the library as a service: it is cancelled to end.
struct Work: Service {
    private let body: @Sendable () async throws -> Void

    init(_ body: @escaping @Sendable () async throws -> Void) { self.body = body }

    func run() async throws {
        do {
            try await cancelWhenGracefulShutdown { try await body() }
        } catch is CancellationError {
            // That is how it is asked to end.
        }
    }
}
