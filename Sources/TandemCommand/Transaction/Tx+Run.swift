import ArgumentParser
import Foundation
import Tandem
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
                applied) and id. Parameters are sent as they are written, digit for digit. Sent again with the same id, a transaction is not run \
                again: what became of the first one is the answer.
                With --jsonl each line is such an object, with a `ref` of yours, and each result is a line with that `ref`, in the order of \
                completion, until the input ends or a signal comes. Recovery runs meanwhile.
                Exit codes: 0 committed (nodes that are still pending included), 1 rolled back, 6 in doubt, 2 nothing was sent because the file is \
                wrong, 8 the id is too old to say, 130 interrupted. With --jsonl: 6 where any line is in doubt, else 2 where any is wrong, else 1 \
                where any is rolled back.
                """)

        @OptionGroup var global: GlobalOptions

        @Argument(help: "The file; `-` is standard input.", completion: .file())
        var file: String

        @Flag(help: "The file holds one transaction a line, as JSON.")
        var jsonl = false

        @Option(help: ArgumentHelp("With --jsonl: how many transactions run at a time.", valueName: "number"))
        var clients = 16

        func validate() throws {
            guard (1...1024).contains(clients) else { throw ValidationError("--clients is a number from 1 to 1024.") }
        }

        mutating func run() async throws {
            guard !jsonl else { return try await runLines() }
            let request = try TransactionFile.load(path: file)
            let configuration = try global.configuration()
            let cluster = try Cluster(configuration)
            defer { cluster.close() }
            let report = try await TransactionRun(request, on: cluster).perform()
            // The exit code is the outcome's whether or not somebody took the result.
            try? Output.write(report, global.format)
            if let error = report.error { Talk.say(error) }
            if report.exitCode != 0 { throw Ending(number: report.exitCode) }
        }
    }
}

extension Tx.Run {
    private func runLines() async throws {
        let input = try LineSource(path: file)
        var configuration = try global.configuration()
        // A client never waits for a connection where there may be one for each.
        for index in configuration.nodes.indices {
            configuration.nodes[index].pool.maximum = max(configuration.nodes[index].pool.maximum, clients)
        }
        let cluster = try Cluster(configuration)
        defer { cluster.close() }
        let lines = TransactionLines(cluster: cluster, input: input, name: file == "-" ? "standard input" : file, clients: clients)
        let code = try await lines.run()
        if code != 0 { throw Ending(number: code) }
    }
}

extension TransactionID {
    /// A new id, by this machine's clock.
    static func now() -> TransactionID {
        make(milliseconds: UInt64(Date().timeIntervalSince1970 * 1000), random: (.random(in: 0 ... .max), .random(in: 0 ... .max)))
    }
}
