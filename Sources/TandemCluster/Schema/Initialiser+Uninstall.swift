public import TandemCore
import TandemPostgres

extension Initialiser {
    /// Removes Tandem's schema from every node, with the register and the records of operators.
    ///
    /// Every node's register is locked before anything is removed, so that nothing new can be decided; then every node is asked what it has prepared. It may
    /// be run again where it was interrupted.
    ///
    /// - Returns: the nodes in the configuration's order, and whether there was anything to remove.
    /// - Throws: `refusedBySafetyRule` while a branch of the cluster is prepared, a transaction is open, or something of yours depends on the schema;
    ///   `nodeUnreachable` and kin; `identityMismatch`. Nothing is removed anywhere then, unless a node is lost while the others
    ///   commit: run it again.
    public func uninstall() async throws -> [(node: NodeName, isRemoved: Bool)] {
        try await withDatabases { databases in
            try refuseMissing(databases)
            for database in databases { try refuseUnknownModules(of: database) }
            for database in databases where database.known != nil { try await lockRegister(of: database) }
            for database in databases where database.known != nil { try await refuseUndecided(on: database) }
            for database in databases where database.schemaVersion > 0 { try await drop(database) }
            for database in databases where database.schemaVersion > 0 { try await apply([], to: database) }
            return databases.map { ($0.name, $0.schemaVersion > 0) }
        }
    }

    /// A node that the configuration leaves out may have something prepared whose decision lies on one that it names.
    private func refuseMissing(_ databases: [Database]) throws {
        let named = Set(databases.map(\.name.rawValue))
        for database in databases {
            guard let missing = database.members.first(where: { !$0.isRemoved && !named.contains($0.name) }) else { continue }
            throw TandemError(
                .refusedBySafetyRule, "the cluster has the node \(missing.name), which is not in the configuration and cannot be asked", node: database.name,
                nextStep: "add it to the configuration; of a node that is gone for good, set removed_at in tandem.member", phase: "uninstall")
        }
    }

    /// Its tables hold what nobody here can judge.
    private func refuseUnknownModules(of database: Database) throws {
        let known = Set(modules.map(\.name))
        guard let unknown = database.modules.keys.sorted().first(where: { !known.contains($0) }) else { return }
        throw TandemError(
            .refusedBySafetyRule, "the schema holds tables of the module \(unknown), which this program does not know", node: database.name,
            nextStep: "name the module, or use the program that made it", phase: "uninstall")
    }

    private func lockRegister(of database: Database) async throws {
        do {
            try await run("SET LOCAL lock_timeout = '2s'", database)
            try await run("LOCK TABLE tandem.branch IN ACCESS EXCLUSIVE MODE", database)
        } catch let error as TandemError where error.sqlState == .lockNotAvailable {
            throw TandemError(
                .refusedBySafetyRule, "the register is in use: a transaction is open or prepared", node: database.name, sqlState: error.sqlState,
                nextStep: "settle what is in doubt (`tandem tx ls`, `tandem recover --once`), stop the programs, and run it again", phase: "uninstall")
        }
    }

    private func refuseUndecided(on database: Database) async throws {
        let prefix = try quoteLiteral(GID.prefix(of: configuration.name))
        let found = try await run(
            """
            SELECT min(gid), count(*) FROM pg_catalog.pg_prepared_xacts WHERE database OPERATOR(pg_catalog.=) pg_catalog.current_database()
              AND pg_catalog.starts_with(gid, \(prefix))
            """, database)
        guard let gid = found.text(0, 0) else { return }
        throw TandemError(
            .refusedBySafetyRule, "\(found.text(0, 1) ?? "some") branches are prepared, \(gid) for one", node: database.name,
            nextStep: "settle them first: `tandem tx ls`, `tandem recover --once`", phase: "uninstall")
    }

    private func drop(_ database: Database) async throws {
        for statement in modules.filter({ database.modules[$0.name] != nil }).flatMap(\.removal) + CoreSchema.removal {
            do {
                try await run(statement, database)
            } catch let error as TandemError where error.sqlState?.rawValue == "2BP01" {
                throw TandemError(
                    .refusedBySafetyRule, "something of yours depends on the schema: \(error.message)", node: database.name, sqlState: error.sqlState,
                    nextStep: "drop it first", phase: "uninstall")
            }
        }
    }
}
