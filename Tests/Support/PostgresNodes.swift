import Foundation
import TandemCore
package import TandemLocal

/// Real servers for tests, started once a process and ended with it.
///
/// Tests share them, so each makes databases of its own (see ``TestCluster``) and changes nothing that belongs to a server. What disturbs a server
/// (kills it, stops it, changes its settings) uses ``disturbed``, one test after the other.
package actor PostgresNodes {
    package static let shared = PostgresNodes("shared", settings: ["max_connections": "400", "max_wal_senders": "0", "wal_level": "minimal"])
    package static let disturbed = PostgresNodes("disturbed", settings: ["max_connections": "100"])

    private let name: String
    private let settings: [String: String]
    private var start: Task<LocalCluster, any Error>?
    /// Only one test at a time has the disturbed servers.
    package let gate = Gate()

    private init(_ name: String, settings: [String: String]) {
        self.name = name
        self.settings = settings
    }

    /// The servers n1, n2 and n3, started when they are first asked for.
    package func cluster() async throws -> LocalCluster {
        if let start { return try await start.value }
        var options = LocalClusterOptions(
            directory: "\(NSTemporaryDirectory())/tandem-tests-\(name)-\(ProcessInfo.processInfo.processIdentifier)", nodeCount: 3, isEphemeral: true,
            settings: settings)
        options.fsync = false
        options.maxPreparedTransactions = 200
        let start = Task { try await LocalCluster.start(options) }
        self.start = start
        return try await start.value
    }
}

extension LocalNode {
    /// A connection string to another database of this server.
    package func conninfo(database: String) -> String { "\(socketConninfo) dbname='\(database)'" }

    /// The superuser's connection string to another database of this server.
    package func superuserConninfo(database: String) -> String { "\(superuserConninfo) dbname='\(database)'" }
}
