import ArgumentParser
import TandemCluster
import TandemCore
import TandemTransactions

/// `tandem audit`
struct Audit: AsyncParsableCommand, Reporting {
    static let configuration = CommandConfiguration(
        abstract: "Compare the registers of all nodes: what is committed on one is committed on all of its members.",
        discussion: """
            Finds what an asynchronous failover lost, a branch or the decision itself, and what somebody ended against the decision, as long as the registers \
            remember. It changes nothing. With --accept it notes that a contradiction was looked after: `tandem tx ls` and the doctor then leave it out. \
            Exit codes: 0 nothing contradicts, 3 something does, 5 a node is unreachable.
            """)

    @OptionGroup var global: GlobalOptions

    @Option(help: "How far back, such as 2h; all that the registers remember by default.")
    var since: DurationArgument?

    @Option(help: ArgumentHelp("Note that this transaction's data was compared and mended; with --reason.", valueName: "id"))
    var accept: String?

    @Option(help: "With --accept: what was done, for whoever reads the record.")
    var reason: String?

    func validate() throws {
        if accept != nil, reason?.allSatisfy(\.isWhitespace) ?? true { throw ValidationError("--accept needs --reason: it is what the record is for.") }
        if accept == nil, reason != nil { throw ValidationError("--reason belongs to --accept.") }
        if let accept, TransactionID(accept) == nil { throw ValidationError("--accept takes a whole id, as `tandem tx ls --json` shows it.") }
    }

    mutating func run() async throws {
        if let accept, let reason, let id = TransactionID(accept) {
            return try await global.withCluster { cluster in
                try await Interruption.cancelling("interrupted") { try await cluster.accept(id, reason: reason) }
            }
        }
        let since = since?.duration
        let report = try await global.withCluster { cluster in
            try await Interruption.cancelling("interrupted") { try await cluster.audit(since: since) }
        }
        switch global.format {
        case .json: try Output.write(JSON(report))
        case .table:
            if !report.findings.isEmpty { try Output.write(report.findings.table) }
            Talk.say("\(report.rows) rows compared, \(report.findings.count) contradict")
            if report.unexamined > 0 { Talk.say("\(report.unexamined) more seem to: find out which node lost commits") }
        }
        if !report.findings.isEmpty { throw Ending(.problemFound) }
    }
}

extension [Contradiction] {
    /// For people.
    var table: TextTable {
        var table = TextTable("TRANSACTION", "KIND", "COMMITTED ON", "NOT ON")
        for contradiction in self {
            table.add(
                contradiction.transaction.description, contradiction.kind.rawValue, contradiction.committed.rawValue, contradiction.missing.rawValue)
        }
        return table
    }
}
