/// One statement of a ``Batch``: text, bound parameters, and how its answer is wanted.
package struct Statement: Sendable {
    /// The text by which the server keeps the statement's plan; `nil` for texts that never come again (they hold a gid).
    let plan: StatementText?
    package let text: String
    package let parameters: ParameterBuffer
    package let resultFormat: PostgresFormat

    /// Whether the server keeps its plan.
    package var isPrepared: Bool { plan != nil }

    package init(_ text: String, parameters: ParameterBuffer = ParameterBuffer(), isPrepared: Bool = true, resultFormat: PostgresFormat = .text) {
        self.text = text
        plan = isPrepared ? StatementText(text) : nil
        self.parameters = parameters
        self.resultFormat = resultFormat
    }

    /// A statement whose text is a constant, and so is its hash.
    package init(_ plan: StatementText, parameters: ParameterBuffer) {
        self.plan = plan
        text = plan.text
        self.parameters = parameters
        resultFormat = .text
    }

    /// - Throws: `encodingFailed` when a name or a value in `sql` cannot be sent.
    package init(_ sql: SQL, isPrepared: Bool = true, resultFormat: PostgresFormat = .text) throws {
        if let defect = sql.defect { throw defect }
        self.init(sql.text, parameters: sql.parameters, isPrepared: isPrepared, resultFormat: resultFormat)
    }
}
