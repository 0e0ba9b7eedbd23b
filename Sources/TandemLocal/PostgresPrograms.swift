/// Programs that come with the server.
package enum PostgresPrograms {
    /// The path of `pgbench`, beside the server's other programs; `nil` where it is not installed.
    package static func pgbench() async -> String? {
        guard let binaries = try? await PostgresBinaries.find(explicit: nil) else { return nil }
        return Executable.find("pgbench", in: [binaries.directory])
    }
}
