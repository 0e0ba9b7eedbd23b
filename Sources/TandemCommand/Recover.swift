import ArgumentParser
import TandemCluster
import TandemConfiguration
import TandemCore
import TandemTransactions

/// `tandem recover`
struct Recover: AsyncParsableCommand, Reporting {
    static let configuration = CommandConfiguration(
        abstract: "Settle the transactions that somebody left prepared, once.",
        discussion: """
            `tandem serve` does it all the time. Exit codes: 0 nothing remains, 3 something remains or needs attention, 5 a node is unreachable.
            """)

    @OptionGroup var global: GlobalOptions

    @Flag(help: "Look once and end; required, since to go on looking is what `tandem serve` does.")
    var once = false

    @Flag(name: .customLong("dry-run"), help: "Look only, and change nothing.")
    var isDryRun = false

    @Option(help: "How young an undecided branch is left alone, such as 60s; the configuration's by default.")
    var grace: DurationArgument?

    func validate() throws {
        if !once { throw ValidationError("Say --once; to go on looking, run `tandem serve`.") }
    }

    mutating func run() async throws {
        let cluster = try Cluster(global.configuration())
        defer { cluster.close() }
        let grace = grace?.duration, isDryRun = isDryRun
        let report = try await Interruption.cancelling("interrupted; what was settled stays settled") {
            let report = await cluster.recover(grace: grace, isDryRun: isDryRun)
            try Task.checkCancellation()
            return report
        }
        try write(report)
        if !report.unreachable.isEmpty { throw Ending(.unreachable) }
        if report.remaining > 0 || report.needsAttention { throw Ending(.problemFound) }
    }

    private func write(_ report: RecoveryReport) throws {
        for node in report.unreachable { Talk.say("node \(node.node) cannot be asked: \(node.reason)") }
        if report.needsAttention { Talk.say("a branch needs a person: look at it with `tandem tx show ID`") }
        switch global.format {
        case .json:
            try Output.write(
                JSON.object([
                    ("settled", .number(report.settled)), ("expected", .number(report.expected)), ("remaining", .number(report.remaining)),
                    ("needsAttention", .bool(report.needsAttention)),
                    ("dryRun", .bool(isDryRun)), ("branches", JSON(report.branches)), ("unreachable", JSON(report.unreachable)),
                ]))
        case .table:
            var table = TextTable("TRANSACTION", "NODE", "SETTLEMENT", "GID")
            for branch in report.branches { table.add(branch.transaction.description, branch.node.rawValue, branch.settlement, branch.gid) }
            if !table.isEmpty { try Output.write(table) }
            try Output.write(
                text: isDryRun
                    ? "would settle \(report.expected), \(report.remaining - report.expected) would remain"
                    : "settled \(report.settled), \(report.remaining) remain")
        }
    }
}

/// A time on the command line: 500ms, 5s, 2m.
struct DurationArgument: ExpressibleByArgument {
    let duration: Duration

    init(_ duration: Duration) { self.duration = duration }

    init?(argument: String) {
        guard let duration = Duration(text: argument) else { return nil }
        self.duration = duration
    }

    var defaultValueDescription: String { duration.text }
}
