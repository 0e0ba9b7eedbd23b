import TandemCluster
import TandemCore
import TandemSagas

extension SagaOptions {
    /// The section `sagas` of a configuration.
    ///
    /// - Parameters:
    ///   - place: the section; `nil` for the defaults.
    ///   - cluster: whose sagas they are.
    /// - Throws: `configurationInvalid` with file, line and key.
    init(_ place: LocatedNode?, _ cluster: ClusterConfiguration) throws {
        self.init()
        guard let section = try place?.section(["home", "lease", "concurrency", "poll", "retention"]) else { return }
        if let value = section["home"] {
            home = try value.choice(cluster.nodes.map { ($0.name.rawValue, $0.name) })
        }
        if let value = section["lease"] { lease = try value.duration() }
        if let value = section["concurrency"] { concurrency = try value.integer(in: 1...10_000) }
        if let value = section["poll"] { poll = try value.duration() }
        if let value = section["retention"] { retention = try value.duration() }
    }
}
