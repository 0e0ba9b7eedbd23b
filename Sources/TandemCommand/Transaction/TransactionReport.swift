import Foundation
import TandemCore
import TandemTransactions

/// What can be said of a transaction that was run from a file.
struct TransactionReport: Sendable {
    let transaction: TransactionID
    let outcome: Outcome
    let nodes: [(name: NodeName, state: String)]
    let results: [OperationResult]
    /// Whether the outcome is that of an earlier submission of the same id.
    var isRepeated = false
    let error: TandemError?
    let exitCode: Int32

    init(receipt: Receipt<[OperationResult]>, nodes: [NodeName]) {
        transaction = receipt.transaction
        outcome = .committed
        self.nodes = nodes.map { ($0, receipt.pending.contains($0) ? "pending" : "committed") }
        results = receipt.value
        isRepeated = receipt.isRepeated
        error = nil
        exitCode = TandemError.Code.ExitCode.ok.rawValue
    }

    init(_ error: TandemError, id: TransactionID, outcome: Outcome, nodes: [NodeName], exitCode: TandemError.Code.ExitCode) {
        transaction = id
        self.outcome = outcome
        self.nodes = nodes.map { ($0, outcome.rawValue) }
        results = []
        self.error = error
        self.exitCode = exitCode.rawValue
    }

    /// It was cancelled before its decision was sent.
    init(interrupted id: TransactionID, nodes: [NodeName]) {
        transaction = id
        outcome = .rolledBack
        self.nodes = nodes.map { ($0, Outcome.rolledBack.rawValue) }
        results = []
        error = TandemError(
            .transactionEnded, "interrupted before the decision", effect: .rolledBack, isRetrySafe: true,
            nextStep: "run it again if it is still wanted")
        exitCode = Ending.interrupted.code
    }

    var json: JSON { .object(fields) }

    var fields: [(String, JSON)] {
        [
            ("transaction", .string(transaction.description)), ("outcome", .string(outcome.rawValue)),
            ("nodes", .array(nodes.map { .object([("name", .string($0.name.rawValue)), ("state", .string($0.state))]) })),
            ("results", .array(results.map(\.json))),
        ] + (isRepeated ? [("repeated", .bool(true))] : []) + (error.map { [("error", .error($0))] } ?? [])
    }
}

extension Output {
    static func write(_ report: TransactionReport, _ format: OutputFormat) throws {
        guard format == .table else { return try write(report.json) }
        let isColoured = Terminal.isColoured(.standardOutput)
        let outcome = report.outcome.rawValue
        var text = "transaction \(report.transaction) \(Colour(state: outcome)?.paint(outcome, isColoured) ?? outcome)\n"
        if report.isRepeated { text += "it was committed before; nothing was done now\n" }
        var nodes = TextTable("NODE", "STATE")
        for node in report.nodes { nodes.add(node.name.rawValue, node.state) }
        text += nodes.text(isColoured: isColoured)
        for (index, result) in report.results.enumerated() {
            text += "\noperation \(index + 1) on \(result.node): \(result.rows) \(result.rows == 1 ? "row" : "rows")\n"
            guard !result.columns.isEmpty else { continue }
            var table = TextTable(columns: result.columns.map(\.name))
            for row in result.values { table.add(cells: row.map { $0 ?? "NULL" }) }
            text += table.text()
        }
        try write(text: text)
    }
}
