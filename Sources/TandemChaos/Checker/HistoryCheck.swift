import Foundation
import TandemCore

/// Checks a history, whatever workload it is of.
package struct HistoryCheck {
    /// What a check has found.
    package struct Report: Sendable, Codable {
        package let transactions: Int
        package let violations: Int
        package let findings: [Finding]
        /// Figures of lists, where the history is of them.
        package var lists: CheckReport?
        /// Why the history says too little to be judged.
        package var reasons: [String] = []
    }

    /// Findings that are shown; the count is of all.
    private static let most = 100

    /// The first line of a run's history.
    private struct Head: Decodable {
        let f: String
        let workload: Workload?
        let options: ChaosOptions?
    }

    private let path: String
    private let head: Head?

    /// - Parameter path: The history.
    /// - Throws: `notFound` where there is no such file.
    package init(path: String) throws {
        self.path = path
        guard let file = FileHandle(forReadingAtPath: path) else {
            throw TandemError(.notFound, "\(path) cannot be read", nextStep: "name the history of a run: tandem chaos run --history FILE")
        }
        let start = (try? file.read(upToCount: 1 << 16)) ?? Data()
        try? file.close()
        head = try? JSONDecoder().decode(Head.self, from: start.prefix { $0 != UInt8(ascii: "\n") })
    }

    /// What the run was made of.
    ///
    /// - Returns: its options.
    /// - Throws: `configurationInvalid` where the history is not that of a run.
    package func options() throws -> ChaosOptions {
        guard let options = head?.options else {
            throw TandemError(.configurationInvalid, "\(path) does not say what was run", nextStep: "only a history of `tandem chaos run` can be run again")
        }
        return options
    }

    /// - Parameter level: What counts as a violation.
    /// - Returns: What was found.
    /// - Throws: `configurationInvalid` with the number of a line that is no event.
    package func run(_ level: ListAppendChecker.Level = .readCommitted) throws -> Report {
        if head?.workload == .saga {
            throw TandemError(
                .configurationInvalid, "\(path) is a history of sagas, whose effects are compared by the run itself",
                nextStep: "run it again: `tandem chaos replay`")
        }
        if head?.workload == .bank {
            let text = String(decoding: FileManager.default.contents(atPath: path) ?? Data(), as: UTF8.self)
            let whole = text.lastIndex(of: "\n").map { text[..<$0] } ?? ""
            var checker = try BankChecker(whole.split(separator: "\n"))
            let findings = checker.check()
            var report = Report(transactions: checker.count, violations: findings.count(where: \.isViolation), findings: Array(findings.prefix(Self.most)))
            if checker.count == 0 { report.reasons.append("it holds no transfer") }
            if !checker.isFinished { report.reasons.append("it does not say what was on the nodes at the end") }
            return report
        }
        let report = ListAppendChecker(try history(), level: level).check()
        var result = Report(
            transactions: report.transactions, violations: report.violations, findings: report.anomalies.map { Finding($0) }, lists: report)
        if report.transactions == 0 { result.reasons.append("it holds no transaction of lists") }
        if report.keysWithoutFinalRead > 0 {
            result.reasons.append("of \(report.keysWithoutFinalRead) keys it does not say what was there at the end: what is lost there is not noticed")
        }
        return result
    }

    /// The transactions of a history of lists.
    ///
    /// - Returns: them.
    /// - Throws: `configurationInvalid` with the number of a line that is no event.
    func history() throws -> History {
        do { return try HistoryReader(path: path).read() } catch {
            throw TandemError(.configurationInvalid, error.description, nextStep: "docs/chaos.md says what a history looks like", cause: error)
        }
    }
}

extension Finding {
    /// An anomaly, with the statements of a cycle's transactions below it.
    init(_ anomaly: Anomaly) {
        let statements = (anomaly.cycle?.transactions ?? []).map { party in
            "\n    \(party.name) \(party.transaction) (\(party.completion.rawValue)): "
                + party.statements.map { statement in
                    [statement.node.map { "\($0): " } ?? "", statement.sql, statement.result.map { " -- \($0)" } ?? ""].joined()
                }.joined(separator: "; ")
        }
        self.init(kind: anomaly.kind.rawValue, isViolation: anomaly.isViolation, message: anomaly.message + statements.joined())
    }
}
