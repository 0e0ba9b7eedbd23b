/// One statement of a ``Batch``: text, bound parameters, and how its answer is wanted.
package struct Statement: Sendable {
    package let text: String
    package let parameters: ParameterBuffer
    /// Whether the server keeps its plan, by its text. Off for texts that never come again (they hold a gid).
    package let isPrepared: Bool
    package let resultFormat: PostgresFormat

    package init(_ text: String, parameters: ParameterBuffer = ParameterBuffer(), isPrepared: Bool = true, resultFormat: PostgresFormat = .text) {
        self.text = text
        self.parameters = parameters
        self.isPrepared = isPrepared
        self.resultFormat = resultFormat
    }

    /// - Throws: `encodingFailed` when a name or a value in `sql` cannot be sent.
    package init(_ sql: SQL, isPrepared: Bool = true, resultFormat: PostgresFormat = .text) throws {
        if let defect = sql.defect { throw defect }
        self.init(sql.text, parameters: sql.parameters, isPrepared: isPrepared, resultFormat: resultFormat)
    }
}
