/// The tables of Tandem in a node's database, one step a version.
package enum SchemaModule {
    /// The version that this program works with.
    package static let version = 1

    /// The steps that lead from `version` to ``version``, each an SQL script.
    package static func steps(from version: Int) -> [(version: Int, sql: String)] {
        let all: [(version: Int, sql: String)] = [(1, String(decoding: PackageResources.schema_0001_sql, as: UTF8.self))]
        return all.filter { $0.version > version }
    }
}
