package import TandemCore
import TandemPostgres

/// The tables of Tandem in a node's database without those of its capabilities (see ``SchemaModule``), one step a version.
package enum CoreSchema {
    /// The version that this program works with.
    package static let version = 3

    /// Why this program does not work with a schema; `nil` when it does. A newer one says itself which programs it still serves.
    ///
    /// - Parameters:
    ///   - version: the schema's version.
    ///   - leastProgram: the lowest version of the program that the schema serves.
    ///   - node: the node.
    /// - Returns: an error that says which of the two to upgrade.
    package static func mismatch(version: Int, leastProgram: Int, node: NodeName) -> TandemError? {
        if version < Self.version {
            return TandemError(
                .schemaMismatch, "the schema has version \(version), this program works with \(Self.version)", node: node, nextStep: "run `tandem init`")
        }
        if leastProgram > Self.version {
            return TandemError(
                .schemaMismatch, "the schema has version \(version) and serves programs from \(leastProgram) on; this one has version \(Self.version)",
                node: node,
                nextStep: "upgrade this program")
        }
        return nil
    }

    /// The steps that lead from `version` to ``version``, each an SQL script.
    package static func steps(from version: Int) -> [(version: Int, sql: String)] {
        let all = [(1, PackageResources.schema_0001_sql), (2, PackageResources.schema_0002_sql), (3, PackageResources.schema_0003_sql)]
        return all.filter { $0.0 > version }.map { (version: $0, sql: String(decoding: $1, as: UTF8.self)) }
    }

    /// What removes the schema, and nothing that others made: what depends on it stands in the way.
    static let removal = [
        "DROP VIEW IF EXISTS tandem.in_doubt",
        "DROP FUNCTION IF EXISTS tandem.tombstone(uuid, text), tandem.raise_horizon(uuid), tandem.forget(uuid, uuid[], integer)",
        "DROP TABLE IF EXISTS tandem.module",
        "DROP TABLE tandem.branch, tandem.operation, tandem.member, tandem.node, tandem.schema_version",
        "DROP SCHEMA tandem",
    ]

    /// What gives a role the rights that a program needs.
    ///
    /// - Parameter role: the role's name.
    /// - Returns: the statements, which may be executed again.
    /// - Throws: `encodingFailed` where it cannot be a name.
    package static func grants(to role: String) throws -> [String] {
        let role = try quoteIdentifier(role)
        return [
            "GRANT USAGE ON SCHEMA tandem TO \(role)",
            "GRANT SELECT ON ALL TABLES IN SCHEMA tandem TO \(role)",
            // Not the kind, nor what the server puts in itself.
            "GRANT INSERT (transaction_id, node, members, coordinator) ON tandem.branch TO \(role)",
            "GRANT INSERT (what, transaction_id, reason) ON tandem.operation TO \(role)",
            "GRANT EXECUTE ON FUNCTION tandem.tombstone(uuid, text), tandem.raise_horizon(uuid), tandem.forget(uuid, uuid[], integer) TO \(role)",
        ]
    }
}
