import ArgumentParser
import Foundation
import TandemCluster
import TandemConfiguration
import TandemCore
import TandemTransactions

extension Tx {
    /// `tandem tx run`
    struct Run: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Run the transaction in a YAML file: on all of its nodes, or on none.",
            discussion: """
                The file holds operations: [{node, sql, params, expect: {rows: 1}}], and if you like isolation, timeout, acknowledge (decided or \
                applied) and id. Parameters are sent as they are written, digit for digit.
                Exit codes: 0 committed (nodes that are still pending included), 1 rolled back, 6 in doubt, 2 nothing was sent because the file is \
                wrong, 8 the id was used before, 130 interrupted and rolled back.
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(help: "The file; `-` is standard input.")
        var file: String

        mutating func run() async throws {
            var request = try TransactionFile.load(path: file)
            let configuration = try global.configuration()
            let cluster = try Cluster(configuration)
            defer { cluster.close() }
            // Chosen here, so that it can be told whatever happens.
            let id = request.options.id ?? .now()
            request.options.id = id
            let run = TransactionRun(cluster: cluster, request: request, id: id)
            let report = try await run.perform()
            // The exit code is the outcome's whether or not somebody took the result.
            try? Output.write(report, global.format)
            if let error = report.error { Talk.say(error) }
            if report.exitCode != 0 { throw Ending(number: report.exitCode) }
        }
    }
}

extension TransactionID {
    /// A new id, by this machine's clock.
    static func now() -> TransactionID {
        make(milliseconds: UInt64(Date().timeIntervalSince1970 * 1000), random: (.random(in: 0 ... .max), .random(in: 0 ... .max)))
    }
}
