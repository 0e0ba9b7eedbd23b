import ArgumentParser

/// `tandem` itself.
struct Root: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tandem",
        abstract: "Several PostgreSQL databases change together, or not at all.",
        discussion: """
            Data goes to standard output, everything else to standard error.
            Exit codes: 0 ok, 1 failed (rolled back), 2 usage (nothing was sent), 3 problem found, 4 not found, 5 node unreachable, \
            6 outcome unknown, 7 not permitted, 8 refused by a safety rule, 130 interrupted.
            """,
        version: "0.1.0",
        subcommands: [
            Dev.self, Init.self, DoctorCommand.self, Tx.self, Saga.self, OutboxCommand.self, InboxCommand.self, Recover.self, Audit.self, Serve.self,
            SQLCommand.self, Uninstall.self, Bench.self,
            Chaos.self,
            Config.self,
            Completion.self,
        ])
}
