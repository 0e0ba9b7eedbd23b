import ArgumentParser
import Foundation
import Logging
import TandemCluster
import TandemConfiguration
import TandemCore
import TandemSagas

/// How results are printed.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case table
    case json
}

/// Options that every command takes.
struct GlobalOptions: ParsableArguments {
    @Option(
        name: .shortAndLong, help: ArgumentHelp("The configuration; else $TANDEM_CONFIG, else ./tandem.yaml.", valueName: "file"),
        completion: .file(extensions: ["yaml", "yml", "json"]))
    var config: String?

    @Option(help: "How results are printed: table or json.")
    var output: OutputFormat?

    @Flag(help: "The same as --output json.")
    var json = false

    var format: OutputFormat { json ? .json : output ?? .table }

    /// The configuration file that is meant.
    func path(_ environment: [String: String] = ProcessInfo.processInfo.environment) -> String {
        if let config { return config }
        guard let named = environment["TANDEM_CONFIG"], !named.isEmpty else { return "tandem.yaml" }
        return named
    }

    /// The cluster of the configuration file, which logs to standard error.
    func configuration(logging level: Logger.Level = .error) throws -> ClusterConfiguration { try file(logging: level).cluster }

    /// The cluster of the configuration file, which logs to standard error, and how its capabilities run.
    func file(logging level: Logger.Level = .error) throws -> (cluster: ClusterConfiguration, sagas: SagaOptions, outbox: OutboxSection) {
        let file = try ConfigurationFile(path: path())
        var cluster = file.cluster
        cluster.logger = Logger(label: "tandem") { StreamLogHandler.standardError(label: $0) }
        cluster.logger.logLevel = level
        return (cluster, file.sagas, file.outbox)
    }

    /// Opens the cluster for its sagas while `body` runs.
    func withSagas<Value>(_ body: (Sagas) async throws -> Value) async throws -> Value {
        let file = try file(), cluster = try Cluster(file.cluster)
        defer { cluster.close() }
        return try await body(try Sagas(cluster, options: file.sagas))
    }

    /// Opens the cluster while `body` runs.
    func withCluster<Value>(_ body: (Cluster) async throws -> Value) async throws -> Value {
        let cluster = try Cluster(configuration())
        defer { cluster.close() }
        return try await body(cluster)
    }
}

/// A command with the options of all, which say how its errors are printed, too.
protocol Reporting: SendableMetatype {
    var global: GlobalOptions { get }
}

/// Options of all commands may stand before the command's name.
enum GlobalArguments {
    private static let flags: Set = ["--json"]
    private static let options: Set = ["-c", "--config", "--output"]

    /// The arguments with the leading global options behind everything else, where the command looks for them.
    static func moved(_ arguments: [String]) -> [String] {
        var rest = arguments[...]
        var leading: [String] = []
        while let first = rest.first {
            let name = first.hasPrefix("--") ? String(first.prefix { $0 != "=" }) : first
            if flags.contains(first) || (options.contains(name) && name != first) {
                leading.append(rest.removeFirst())
            } else if options.contains(first), rest.count > 1 {
                leading += rest.prefix(2)
                rest = rest.dropFirst(2)
            } else {
                break
            }
        }
        // What follows `--` is another program's.
        let end = rest.firstIndex(of: "--") ?? rest.endIndex
        return Array(rest[..<end]) + leading + Array(rest[end...])
    }
}
