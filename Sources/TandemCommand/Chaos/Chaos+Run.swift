import ArgumentParser
import Foundation
import TandemChaos
import TandemCore

extension Chaos {
    /// `tandem chaos run`
    struct Run: AsyncParsableCommand, Reporting {
        static let configuration = CommandConfiguration(
            abstract: "Several coordinators under random faults; then heal, recover and check.",
            discussion: """
                Exit codes: 0 nothing was violated, 3 something was, 1 the run says nothing: too few transactions were acknowledged (1,000 in 30 s), more than 5 % had no outcome after \
                recovery, or a fault that was asked for never happened.
                """)

        @OptionGroup var global: GlobalOptions

        @Option(help: "What the schedule of faults follows from; any number by default, which is said.")
        var seed: UInt64?

        @Option(help: "How long the load lasts.")
        var seconds = 30

        @Option(help: "Nodes, which it starts itself.")
        var nodes = 3

        @Option(help: "Coordinators, each a process of its own.")
        var coordinators = 3

        @Option(help: "Transactions that each coordinator runs at a time.")
        var clients = 8

        @Option(help: "What the clients do: bank, list-append or saga.")
        var workload = Workload.listAppend

        @Option(
            help: ArgumentHelp(
                "Which faults happen, with commas; all by default: \(FaultKind.allCases.map(\.rawValue).joined(separator: ", ")).", valueName: "kinds"))
        var faults: String?

        @OptionGroup var files: Files

        /// Where a run writes.
        struct Files: ParsableArguments {
            @Option(help: "Where the history goes; removed with the run by default.", completion: .file())
            var history: String?

            @Option(help: "Where a report in Markdown goes.", completion: .file())
            var report: String?
        }

        mutating func run() async throws {
            try global.refuseConfiguration()
            var options = ChaosOptions(seed: seed ?? UInt64.random(in: 1...999_999))
            (options.seconds, options.nodes, options.coordinators, options.clients, options.workload) = (seconds, nodes, coordinators, clients, workload)
            if let faults { options.faults = try Self.kinds(faults) }
            if options.faults.isEmpty { throw TandemError(.configurationInvalid, "--faults names none", nextStep: "leave it out for all of them") }
            try await Self.perform(options, files, global)
        }

        private static func kinds(_ text: String) throws -> [FaultKind] {
            let names = text.split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
            let kinds = try names.map { name in
                guard let kind = FaultKind(rawValue: name) else {
                    throw TandemError(
                        .configurationInvalid, "there is no fault '\(name)'",
                        nextStep: "there are \(FaultKind.allCases.map(\.rawValue).joined(separator: ", "))")
                }
                return kind
            }
            return FaultKind.allCases.filter(kinds.contains)
        }

        static func perform(_ options: ChaosOptions, _ files: Files, _ global: GlobalOptions) async throws {
            let folder = "/var/tmp/tandem-chaos-\(UUID().uuidString.prefix(8))"
            let history = files.history ?? "\(folder)/history.jsonl"
            let program = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
            let run = try ChaosRun(options, program: program, folder: folder, history: history) { Talk.say($0) }
            for path in [files.history, files.report].compactMap(\.self) where !FileManager.default.createFile(atPath: path, contents: nil) {
                throw TandemError(.localNodeFailed, "\(path) cannot be written", nextStep: "name another file")
            }
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            let result: ChaosResult
            do { result = try await Interruption.cancelling("stopping coordinators and nodes") { try await run.run() } } catch {
                if error is CancellationError {
                    try? FileManager.default.removeItem(atPath: folder)
                } else {
                    Talk.say("histories and logs are kept in \(folder)")
                }
                throw error
            }
            switch global.format {
            case .json: try Output.write(text: BenchOutput.json(result))
            case .table: try write(result)
            }
            if let report = files.report { try result.markdown(options).write(toFile: report, atomically: true, encoding: .utf8) }
            if result.verdict == .violated {
                Talk.say("histories and logs are kept in \(folder)")
            } else {
                try? FileManager.default.removeItem(atPath: folder)
            }
            switch result.verdict {
            case .passed: break
            case .violated: throw Ending(.problemFound)
            case .inconclusive: throw Ending(.failed)
            }
        }

        private static func write(_ result: ChaosResult) throws {
            for finding in result.findings where finding.isViolation { Talk.say("VIOLATION \(finding.kind): \(finding.message)") }
            let others = Set(result.findings.filter { !$0.isViolation }.map(\.kind)).sorted()
            if !others.isEmpty { Talk.say("not promised, and seen: \(others.joined(separator: ", ")); --json and --report tell more") }
            for reason in result.reasons { Talk.say("the run says nothing: \(reason)") }
            let faults = FaultKind.allCases.compactMap { kind in result.faults[kind.rawValue].map { "\(kind.rawValue) \($0)" } }.joined(separator: ", ")
            let recovery = result.recovery_seconds
            try Output.write(
                text: """
                    seed \(result.seed), \(result.workload.rawValue): \(result.verdict.rawValue)
                    \(result.transactions) transactions: \(result.acknowledged) acknowledged, \(result.rolled_back) rolled back, \(result.unknown) without an outcome \
                    (\(result.unknown_committed) of them committed)
                    faults: \(faults)
                    violations \(result.violations), prepared after recovery \(result.in_doubt_after)
                    from healing to nothing prepared: \(BenchOutput.text(recovery.p50, 2)) s at the median, \(BenchOutput.text(recovery.p99, 2)) s at 99 %, \
                    \(BenchOutput.text(recovery.max, 2)) s at most
                    """)
        }
    }
}

extension Workload: ExpressibleByArgument {}

extension GlobalOptions {
    /// - Throws: `refusedBySafetyRule` where a configuration is named: it would be somebody's databases.
    func refuseConfiguration() throws {
        guard config == nil else {
            throw TandemError(
                .refusedBySafetyRule, "chaos breaks nodes and works on none but its own",
                nextStep: "leave --config out; for a configured cluster use `tandem doctor`")
        }
    }
}
