/// Programs that come with the server.
package enum PostgresPrograms {
    /// The path of `pgbench`, beside the server's other programs; `nil` where it is not installed.
    package static func pgbench() async -> String? { await find("pgbench") }

    /// The path of `psql`; `nil` where it is not installed.
    package static func psql() async -> String? { await find("psql") }

    /// The path of `pg_dump`; `nil` where it is not installed.
    package static func pgDump() async -> String? { await find("pg_dump") }

    private static func find(_ name: String) async -> String? {
        guard let binaries = try? await PostgresBinaries.find(explicit: nil) else { return nil }
        return Executable.find(name, in: [binaries.directory])
    }
}
