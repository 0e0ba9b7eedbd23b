public import Foundation
public import TandemCluster
import TandemCore
import TandemPostgres
public import TandemSagas

/// The file `tandem.yaml`: the cluster's nodes, how to reach them, and the times that hold for all.
///
/// ```yaml
/// cluster: bank
/// nodes:
///   bankA:
///     conninfo: host=10.0.0.1 dbname=bank user=app
///     password: {env: BANK_A_PASSWORD}
///     pool: {maximum: 32}
///   bankB:
///     conninfo: postgresql://app@10.0.0.2/bank
///     passwordFile: secrets/bank-b
///     lockTimeout: 5s
/// retention: 24h
/// ```
///
/// An error names file, line and key, and says what to write instead.
public struct ConfigurationFile {
    /// The cluster that the file describes.
    public let cluster: ClusterConfiguration
    /// How its sagas run.
    public let sagas: SagaOptions
    /// Where its events go.
    public let outbox: OutboxSection

    /// The keys of the file's top: the cluster's, then those of capabilities.
    static let keys = ["cluster", "defaults", "nodes", "retention", "recovery", "reactors", "preparedReserve", "sagas", "outbox"]

    /// Reads a configuration.
    ///
    /// - Parameters:
    ///   - path: the file; relative paths inside it start at its folder.
    ///   - environment: where passwords that the file names by `env` are looked up; this process's by default.
    /// - Returns: the cluster.
    /// - Throws: `configurationInvalid` with file, line and key.
    public static func load(
        path: String, environment: [String: String] = ProcessInfo.processInfo.environment
    ) throws -> ClusterConfiguration {
        try ConfigurationFile(path: path, environment: environment).cluster
    }

    /// Reads a configuration with the sections of its capabilities.
    ///
    /// - Parameters:
    ///   - path: the file; relative paths inside it start at its folder.
    ///   - environment: where passwords that the file names by `env` are looked up; this process's by default.
    /// - Throws: `configurationInvalid` with file, line and key.
    public init(path: String, environment: [String: String] = ProcessInfo.processInfo.environment) throws {
        let document = try YAMLDocument(path: path, next: "name it with --config or TANDEM_CONFIG; `tandem dev` writes one")
        let folder = URL(fileURLWithPath: path).standardizedFileURL.deletingLastPathComponent().path
        let sections = try document.root.section(Self.keys)
        let reader = ClusterReader(sections: sections, folder: folder, environment: environment)
        cluster = try reader.read()
        sagas = try SagaOptions(sections["sagas"], cluster)
        outbox = try OutboxSection(sections["outbox"], cluster, reader)
    }
}
