import ArgumentParser
import TandemCore
import TandemSagas

extension Saga {
    /// `tandem saga reconcile`
    struct Reconcile: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Compare the home node's sagas with what their steps' nodes have recorded.",
            discussion: """
                Finds what a restore of an older backup has forgotten: steps of sagas that the home node does not have, and steps that their own node has lost. \
                It changes nothing. Exit codes: 0 nothing contradicts, 3 something does, 5 a node is unreachable.
                """)

        @OptionGroup var global: GlobalOptions

        @Option(help: "Leave out what is younger, since it may be under way.")
        var olderThan = DurationArgument(.seconds(60))

        mutating func run() async throws {
            let age = olderThan.duration
            let result = try await global.withSagas { sagas in
                try await Interruption.cancelling("interrupted") { try await sagas.reconcile(olderThan: age) }
            }
            switch global.format {
            case .json: try Output.write(JSON(result))
            case .table:
                if !result.gaps.isEmpty {
                    var table = TextTable("SAGA", "KIND", "NODE", "STEP", "RECORDED")
                    for gap in result.gaps {
                        table.add(gap.saga.description, gap.kind.rawValue, gap.node.rawValue, gap.step, gap.recorded ?? "-")
                    }
                    try Output.write(table)
                }
                Talk.say("\(result.sagas) sagas that have ended compared, \(result.gaps.count) steps contradict")
            }
            if !result.gaps.isEmpty { throw Ending(.problemFound) }
        }
    }
}
