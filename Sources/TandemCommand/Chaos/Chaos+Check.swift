import ArgumentParser
import TandemChaos
import TandemCore

extension Chaos {
    /// `tandem chaos check`
    struct Check: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Check the history of a run, or one of another program in the same form.",
            discussion: """
                Everything that is found is shown; --level says what of it counts. read-committed is what docs/guarantees.md promises over several nodes. Exit codes: 3 where \
                something is violated, else 1 where the history says too little to be judged.
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(help: "The history, JSON lines.", completion: .file())
        var file: String

        @Option(help: "Which anomalies count: read-committed, snapshot or serializable.")
        var level = ListAppendChecker.Level.readCommitted

        mutating func run() async throws {
            let report = try HistoryCheck(path: file).run(level)
            switch global.format {
            case .json: try Output.write(text: BenchOutput.json(report))
            case .table:
                for finding in report.findings {
                    try Output.write(text: "\(finding.isViolation ? "VIOLATION" : "not counted") \(finding.kind): \(finding.message)")
                }
                try Output.write(text: "\(report.transactions) transactions checked, \(report.violations) violations at the level \(level.rawValue)")
            }
            for reason in report.reasons { Talk.say("the history cannot be judged: \(reason)") }
            if report.violations > 0 { throw Ending(.problemFound) }
            if !report.reasons.isEmpty { throw Ending(.failed) }
        }
    }
}

extension ListAppendChecker.Level: ExpressibleByArgument {}
