public import TandemCore
import TandemPostgres

/// Prepares databases to be nodes of a cluster: tables, and an identity for each (R3).
///
/// It may be run again at any time, by several people at once: it takes one lock a database, in the one order of all databases, looks at
/// what is there on every node, and changes each node in one transaction. Only when every node knows who it is are they told of each other: a number
/// that stands in another node's list then belongs to a database that bears it, wherever an earlier run was killed.
public struct Initialiser: Sendable {
    /// What a node is after initialising.
    public struct Node: Sendable, Codable {
        /// The node's name.
        public let name: String
        /// The number that gids call it by.
        public let nodeID: Int
        /// The version of its schema.
        public let schemaVersion: Int
        /// Whether anything had to be changed.
        public let isChanged: Bool
    }

    struct Database {
        let configuration: NodeConfiguration
        let connection: Connection
        let systemIdentifier: Int64
        let databaseOID: UInt32
        var schemaVersion = 0
        /// The lowest version of the program that the schema serves.
        var leastProgram = 0
        var known: (cluster: String, id: NodeID, name: String, systemIdentifier: Int64, databaseOID: UInt32)?
        var members: [(id: Int16, name: String, isRemoved: Bool)] = []
        /// The versions of the modules that are there, and the lowest versions of a program that they serve.
        var modules: [String: (version: Int, leastProgram: Int)] = [:]

        var name: NodeName { configuration.name }
    }

    /// How long tables that are in use are waited for, and how long their users have them for themselves between two attempts.
    private static let patience = Duration.seconds(30), pause = Duration.milliseconds(300)

    /// Serialises initialising in one database; any constant that nobody else uses.
    private static let lock: Int64 = 0x7461_6e64_656d_0001

    let configuration: ClusterConfiguration
    private let roles: [String]
    let modules: [SchemaModule]

    /// An initialiser of the cluster's databases.
    ///
    /// - Parameters:
    ///   - configuration: the cluster; every node must be reachable, since identities are compared with all of them.
    ///   - roles: roles that get the rights that a program needs, and no more: to run transactions, recovery and clean-up. They can neither write nor change
    ///     nor remove a row but through the functions for it, which they may call at a wrong time. They must exist on every node.
    ///   - modules: the capabilities that use the nodes, and whose tables they get. Those of others stay as they are.
    public init(_ configuration: ClusterConfiguration, granting roles: [String] = [], modules: [SchemaModule] = []) {
        self.configuration = configuration
        self.roles = roles
        self.modules = modules
    }

    /// Brings every node's tables to this program's version and gives new nodes their numbers.
    ///
    /// - Returns: the nodes in the configuration's order.
    /// - Throws: `nodeUnreachable` and kin, when a node cannot be asked; `identityMismatch`, when two names mean one database, a name or a number
    ///   stands on two databases, or a database belongs to another cluster; `schemaMismatch`, when a schema is newer than this program.
    ///   Cancellation closes the connections, so that a node is either as it was or done.
    public func run() async throws -> [Node] {
        try await withPlan { databases, plan in
            for index in databases.indices { try await migrate(databases[index], plan[index].statements) }
            for index in databases.indices where !plan[index].others.isEmpty {
                try await run("BEGIN", databases[index])
                try await apply(plan[index].others, to: databases[index])
            }
            return plan.map(\.result)
        }
    }

    /// The SQL that ``run()`` would execute, node by node, for a DBA who wants to do it by hand. It changes nothing.
    ///
    /// - Returns: one psql script a node.
    /// - Throws: as ``run()`` does.
    public func script() async throws -> [(node: NodeName, sql: String)] {
        try await withPlan { databases, plan in
            zip(databases, plan).map { database, plan in
                let statements = plan.statements + plan.others
                let body = statements.map { $0.hasSuffix(";") ? $0 : $0 + ";" }.joined(separator: "\n\n")
                return (
                    database.name, statements.isEmpty ? "-- nothing to do\n" : "BEGIN;\n\nSET LOCAL search_path = pg_catalog, pg_temp;\n\n\(body)\n\nCOMMIT;\n"
                )
            }
        }
    }

    // MARK: Looking

    /// What makes a database a node, what tells it of the others, and what it is then.
    private typealias Plan = (statements: [String], others: [String], result: Node)

    private func withPlan<R>(_ body: ([Database], [Plan]) async throws -> R) async throws -> R {
        try await withDatabases { try await body($0, try plan($0)) }
    }

    /// Gives the body a session with each database, in a transaction, with what the nodes say of themselves; nobody else initialises meanwhile.
    func withDatabases<R>(_ body: ([Database]) async throws -> R) async throws -> R {
        let reactor = Reactor(name: "tandem-init")
        defer { reactor.stop() }
        var databases: [Database] = []
        do {
            for node in configuration.nodes { databases.append(try await connect(node, reactor)) }
            try refuseDoubles(databases)
            // Two who initialise at once take the locks in one order, whatever the order of their configurations: no deadlock.
            for database in databases.sorted(by: { ($0.systemIdentifier, $0.databaseOID) < ($1.systemIdentifier, $1.databaseOID) }) {
                // Held until the connection is closed: over both transactions of a node.
                try await run("SET lock_timeout = '60s'", database)
                // The node's own limit is one for statements of users, and shorter than the wait for somebody else who initialises.
                try await run("SET statement_timeout = '80s'", database)
                // And it waits, in its transaction, for what the other nodes do.
                try await run("SET idle_in_transaction_session_timeout = '90s'", database)
                try await run("SELECT pg_catalog.pg_advisory_lock(\(Self.lock))", database)
                try await run("BEGIN", database)
            }
            for index in databases.indices { try await look(&databases[index]) }
            for database in databases { if let known = database.known { try check(database, known: known) } }
            let result = try await body(databases)
            for database in databases { await close(database) }
            return result
        } catch {
            for database in databases { await close(database) }
            throw error
        }
    }

    private func connect(_ node: NodeConfiguration, _ reactor: Reactor) async throws -> Database {
        guard node.pooler == .none else {
            throw TandemError(
                .configurationInvalid, "the schema is not made through a pooler in transaction mode", node: node.name,
                nextStep: "run this command with a configuration whose conninfo leads to the server itself, without `pooler`")
        }
        let connection = try await withCheckedThrowingContinuation { continuation in
            Connector(node.connectionParameters, node: node.name).connect(on: reactor, logger: configuration.logger) { continuation.resume(with: $0) }
        }
        // Names without a schema are the server's own, whatever others have made in schemas of this database.
        try await run("SET search_path = pg_catalog, pg_temp", connection, node.name)
        let reply = try await run(
            """
            SELECT (SELECT system_identifier FROM pg_catalog.pg_control_system()),
                   (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()),
                   pg_catalog.current_setting('server_version_num')::int
            """, connection, node.name)
        guard let system = reply.text(0, 0).flatMap({ Int64($0) }), let database = reply.text(0, 1).flatMap({ UInt32($0) }),
            let version = reply.text(0, 2).flatMap({ Int($0) })
        else { throw TandemError(.protocolViolation, "the server does not say who it is", node: node.name) }
        guard version >= 150_000 else {
            throw TandemError(.schemaMismatch, "the server has version \(version / 10000), Tandem needs 15 or later", node: node.name, nextStep: "upgrade it")
        }
        return Database(configuration: node, connection: connection, systemIdentifier: system, databaseOID: database)
    }

    private func close(_ database: Database) async {
        await withCheckedContinuation { (done: CheckedContinuation<Void, Never>) in
            database.connection.reactor.execute {
                database.connection.close()
                done.resume()
            }
        }
    }

    private func refuseDoubles(_ databases: [Database]) throws {
        for (index, one) in databases.enumerated() {
            for other in databases[..<index] where other.systemIdentifier == one.systemIdentifier && other.databaseOID == one.databaseOID {
                throw TandemError(
                    .identityMismatch, "\(other.name) and \(one.name) are the same database", node: one.name,
                    nextStep: "give each node a database of its own")
            }
        }
    }

    private func look(_ database: inout Database) async throws {
        let present = try await run("SELECT pg_catalog.to_regclass('tandem.schema_version') IS NOT NULL", database)
        guard present.text(0, 0) == "t" else { return }
        // As JSON: the first version has no column `needs`.
        let version = try await run(
            "SELECT coalesce(max(v.version), 0), coalesce(max((to_jsonb(v) ->> 'needs')::integer), 0) FROM tandem.schema_version v", database)
        database.schemaVersion = version.text(0, 0).flatMap { Int($0) } ?? 0
        database.leastProgram = version.text(0, 1).flatMap { Int($0) } ?? 0
        let node = try await run("SELECT cluster, node_id, name, system_identifier, database_oid FROM tandem.node", database)
        if node.rowCount == 1, let cluster = node.text(0, 0), let id = node.text(0, 1).flatMap({ Int16($0) }).flatMap({ NodeID(rawValue: $0) }),
            let name = node.text(0, 2), let system = node.text(0, 3).flatMap({ Int64($0) }), let oid = node.text(0, 4).flatMap({ UInt32($0) })
        {
            database.known = (cluster, id, name, system, oid)
        }
        let members = try await run("SELECT node_id, name, removed_at IS NOT NULL FROM tandem.member", database)
        database.members = (0..<members.rowCount).compactMap { row in
            guard let id = members.text(row, 0).flatMap({ Int16($0) }), let name = members.text(row, 1) else { return nil }
            return (id, name, members.text(row, 2) == "t")
        }
        guard database.schemaVersion >= 3 else { return }
        let modules = try await run("SELECT name, max(version), max(needs) FROM tandem.module GROUP BY name", database)
        for row in 0..<modules.rowCount {
            guard let name = modules.text(row, 0), let version = modules.text(row, 1).flatMap({ Int($0) }),
                let needs = modules.text(row, 2).flatMap({ Int($0) })
            else { continue }
            database.modules[name] = (version, needs)
        }
    }

    // MARK: Planning

    private func plan(_ databases: [Database]) throws -> [Plan] {
        let members = databases.flatMap(\.members)
        var highest = members.map(\.id).max() ?? 0
        var ids: [NodeName: NodeID] = [:]
        for database in databases {
            guard let known = database.known else { continue }
            if let other = ids.first(where: { $0.value == known.id }) {
                throw TandemError(
                    .identityMismatch, "\(other.key) and \(database.name) both have the number \(known.id): one is a copy of the other", node: database.name,
                    nextStep: "take the copy out of the configuration")
            }
            ids[database.name] = known.id
            highest = max(highest, known.id.rawValue)
        }
        for database in databases where ids[database.name] == nil {
            // A name that another database already bears (or bore) must not mean two things in old gids and rows.
            if let earlier = members.first(where: { $0.name == database.name.rawValue }) {
                throw TandemError(
                    .identityMismatch, "the name \(database.name) was given to another database, number \(earlier.id)", node: database.name,
                    nextStep: "choose another name, or point the configuration at that database")
            }
            highest += 1
            guard let id = NodeID(rawValue: highest) else {
                throw TandemError(.refusedBySafetyRule, "all numbers for nodes have been given", node: database.name)
            }
            ids[database.name] = id
        }
        return try databases.map { database in
            guard let id = ids[database.name] else { throw TandemError(.unknownNode, "no number for \(database.name)", node: database.name) }
            let statements = try self.statements(for: database, id: id)
            let others = try self.others(for: database, all: ids)
            let result = Node(
                name: database.name.rawValue, nodeID: Int(id.rawValue), schemaVersion: max(database.schemaVersion, CoreSchema.version),
                isChanged: !statements.isEmpty || !others.isEmpty)
            let grants = try roles.flatMap { role in try CoreSchema.grants(to: role) + modules.flatMap { try $0.grants(to: role) } }
            return (statements + grants, others, result)
        }
    }

    private func check(_ database: Database, known: (cluster: String, id: NodeID, name: String, systemIdentifier: Int64, databaseOID: UInt32)) throws {
        func refuse(_ what: String, _ next: String) -> TandemError { TandemError(.identityMismatch, what, node: database.name, nextStep: next) }
        if known.cluster != configuration.name.rawValue {
            throw refuse("the database belongs to the cluster \(known.cluster)", "take it out of the configuration, or correct the cluster's name")
        }
        if known.name != database.name.rawValue {
            throw refuse("the database is the node \(known.name)", "correct the names or addresses in the configuration")
        }
        if known.systemIdentifier != database.systemIdentifier || known.databaseOID != database.databaseOID {
            throw refuse(
                "the database was initialised on another server: it is a copy or was moved",
                "correct the address; for a database that was moved on purpose see docs/operating.md, \"A node moved\"")
        }
        // One that is older is what this is for.
        if database.schemaVersion > CoreSchema.version,
            let newer = CoreSchema.mismatch(version: database.schemaVersion, leastProgram: database.leastProgram, node: database.name)
        {
            throw newer
        }
    }

    private func statements(for database: Database, id: NodeID) throws -> [String] {
        var statements: [String] = []
        for step in CoreSchema.steps(from: database.schemaVersion) {
            statements += Self.split(step.sql)
            statements.append("INSERT INTO tandem.schema_version (version) VALUES (\(step.version))")
        }
        for module in modules {
            let known = database.modules[module.name]
            if let known, known.version > module.version,
                let newer = module.mismatch(version: known.version, leastProgram: known.leastProgram, node: database.name)
            {
                throw newer
            }
            for step in module.steps where step.version > known?.version ?? 0 {
                statements += Self.split(step.sql)
                statements.append(
                    "INSERT INTO tandem.module (name, version, needs) VALUES (\(try quoteLiteral(module.name)), \(step.version), \(step.needs))")
            }
        }
        if database.known == nil {
            statements.append(
                """
                INSERT INTO tandem.node (cluster, node_id, name, system_identifier, database_oid)
                VALUES (\(try quoteLiteral(configuration.name.rawValue)), \(id), \(try quoteLiteral(database.name.rawValue)), \
                \(database.systemIdentifier), \(database.databaseOID))
                """)
        }
        return statements
    }

    private func others(for database: Database, all: [NodeName: NodeID]) throws -> [String] {
        try all.sorted { $0.value < $1.value }.filter { member in !database.members.contains { $0.id == member.value.rawValue } }.map { name, id in
            "INSERT INTO tandem.member (node_id, name) VALUES (\(id), \(try quoteLiteral(name.rawValue))) ON CONFLICT DO NOTHING"
        }
    }

    /// The statements of a schema script, which ends each with a semicolon before an empty line and has none of these elsewhere.
    static func split(_ script: String) -> [String] {
        (script + "\n").split(separator: ";\n\n").map(String.init).filter { statement in
            statement.split(separator: "\n").contains { !$0.hasPrefix("--") && !$0.allSatisfy(\.isWhitespace) }
        }
    }

    // MARK: Doing

    /// Changes a node in one transaction. Tables that are in use are waited for in small steps (B6): behind one prepared branch a longer wait for the
    /// lock would stop every commit of the node.
    private func migrate(_ database: Database, _ statements: [String]) async throws {
        guard database.schemaVersion > 0 else { return try await apply(statements, to: database) }
        let deadline = ContinuousClock.now + Self.patience
        while true {
            do {
                return try await apply(["SET LOCAL lock_timeout = '200ms'"] + statements, to: database)
            } catch let error as TandemError where error.sqlState == .lockNotAvailable {
                guard ContinuousClock.now < deadline else {
                    throw TandemError(
                        .statementFailed, "the tables of Tandem are in use; a transaction or a prepared branch holds them", isRetrySafe: true,
                        node: database.name,
                        sqlState: error.sqlState, nextStep: "settle what is in doubt (`tandem tx ls`), and run it again", phase: "init")
                }
                try await run("ROLLBACK", database)
                try await Task.sleep(for: Self.pause)
                try await run("BEGIN", database)
            }
        }
    }

    func apply(_ statements: [String], to database: Database) async throws {
        for statement in statements { _ = try await run(statement, database) }
        let reply = try await run("COMMIT", database)
        guard reply.tag == "COMMIT" else {
            throw TandemError(.protocolViolation, "the server rolled the tables back", node: database.name, phase: "init")
        }
    }

    @discardableResult
    func run(_ sql: String, _ database: Database) async throws -> ResultSet {
        try await run(sql, database.connection, database.name)
    }

    @discardableResult
    private func run(_ sql: String, _ connection: Connection, _ node: NodeName) async throws -> ResultSet {
        do {
            let reply = try await connection.run(Batch([Statement(sql, isPrepared: false)]), deadline: .now + .seconds(90)).only
            if let error = reply.error { throw TandemError(error, node: node, phase: "init") }
            guard let result = reply.results.last else { throw TandemError(.protocolViolation, "the server sent no answer", node: node) }
            return result
        } catch let failure as ConnectionFailure {
            if failure.kind == .cancelled { throw CancellationError() }
            throw TandemError(failure, node: node, phase: "init")
        }
    }
}
