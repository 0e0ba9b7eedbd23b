import ArgumentParser
import TandemCluster
import TandemCore
import TandemTransactions

/// `tandem audit`
struct Audit: AsyncParsableCommand, Reporting {
    static let configuration = CommandConfiguration(
        abstract: "Compare the registers of all nodes: what is committed on one is committed on all of its members.",
        discussion: """
            Finds what an asynchronous failover lost, a branch or the decision itself, as long as the registers remember. It changes nothing. \
            Exit codes: 0 nothing contradicts, 3 something does, 5 a node is unreachable.
            """)

    @OptionGroup var global: GlobalOptions

    @Option(help: "How far back, such as 2h; all that the registers remember by default.")
    var since: DurationArgument?

    mutating func run() async throws {
        let since = since?.duration
        let report = try await global.withCluster { cluster in
            try await Interruption.cancelling("interrupted") { try await cluster.audit(since: since) }
        }
        switch global.format {
        case .json: try Output.write(JSON(report))
        case .table:
            var table = TextTable("TRANSACTION", "KIND", "COMMITTED ON", "NOT ON")
            for finding in report.findings {
                table.add(finding.transaction.description, finding.kind, finding.committed.rawValue, finding.missing.rawValue)
            }
            if !table.isEmpty { try Output.write(table) }
            Talk.say("\(report.rows) rows compared, \(report.findings.count) contradict")
        }
        if !report.findings.isEmpty { throw Ending(.problemFound) }
    }
}
