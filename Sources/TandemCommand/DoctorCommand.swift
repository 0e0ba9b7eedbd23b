import ArgumentParser
import TandemCluster
import TandemCore
import TandemIdempotency
import TandemInbox
import TandemOutbox
import TandemSagas
import TandemTransactions

/// `tandem doctor`
struct DoctorCommand: AsyncParsableCommand, Reporting {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Examine every node: what is wrong, and the SQL that mends it.",
        discussion: """
            It changes nothing; on each node it prepares an empty transaction and rolls it back. Exit codes: 0 nothing is wrong (notices may be \
            there), 3 something is.
            """)

    @OptionGroup var global: GlobalOptions

    @Flag(name: .customLong("fix-sql"), help: "Print only the SQL that mends what was found, node by node. Read it before you run it.")
    var printsSQL = false

    @Flag(help: "Show what is well, too.")
    var all = false

    mutating func run() async throws {
        let (configuration, options, _) = try global.file()
        let cluster = try Cluster(configuration)
        defer { cluster.close() }
        let report = try await Interruption.cancelling("interrupted") {
            var findings = try await cluster.examine().findings
            findings += try await Sagas(cluster, options: options).examine()
            for node in configuration.nodes {
                findings += try await TandemIdempotency.Idempotency(cluster, on: node.name).examine()
                findings += try await Outbox(cluster, on: node.name).examine()
                findings += try await Inbox(cluster, on: node.name).examine()
            }
            return DoctorReport(findings: findings)
        }
        switch global.format {
        case .json: try Output.write(JSON.object([("status", .string(report.status.rawValue)), ("findings", JSON(report.findings))]))
        case .table: try printsSQL ? writeSQL(report) : write(report)
        }
        if report.status == .problem { throw Ending(.problemFound) }
    }

    private func write(_ report: DoctorReport) throws {
        var table = TextTable("NODE", "CHECK", "STATUS", "SEEN")
        for finding in report.findings where all || finding.status != .ok {
            table.add(finding.node.rawValue, finding.check, finding.status.rawValue, Self.onOneLine(finding.message))
        }
        if !table.isEmpty { try Output.write(table) }
        let problems = report.findings.count { $0.status == .problem }, notices = report.findings.count { $0.status == .notice }
        func counted(_ count: Int, _ what: String) -> String { "\(count) \(what)\(count == 1 ? "" : "s")" }
        Talk.say("\(counted(report.findings.count, "check")): \(counted(problems, "problem")), \(counted(notices, "notice"))")
        if report.findings.contains(where: { $0.status != .ok && $0.sql != nil }) { Talk.say("tandem doctor --fix-sql prints the SQL that mends them") }
    }

    static func onOneLine(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.map { $0.properties.generalCategory == .control ? " " : $0 }))
    }

    private func writeSQL(_ report: DoctorReport) throws {
        for finding in report.findings where finding.status != .ok {
            guard let sql = finding.sql else { continue }
            // A name that others chose may hold a line break, and what follows it would be SQL.
            try Output.write(text: "-- node \(finding.node), \(finding.check): \(Self.onOneLine(finding.message))\n\(Self.onOneLine(sql))\n")
        }
        for finding in report.findings where finding.status == .problem && finding.sql == nil {
            Talk.say("no SQL mends this: node \(finding.node), \(finding.check): \(finding.message)")
        }
    }
}
