/// One row of a ``RowSequence``.
public struct ResultRow: Sendable {
    private let columns: Columns

    init(_ result: ResultSet, number: Int) { columns = Columns(result: result, rowsBefore: number) }

    /// Reads the columns in their order.
    ///
    /// - Parameter types: The type of each column.
    /// - Returns: The values.
    /// - Throws: `decodingFailed` with column, type and row.
    public func decode<each Column: PostgresDecodable>(as types: repeat (each Column).Type) throws -> (repeat each Column) {
        try columns.decodeRow(0, as: repeat each types)
    }

    /// Reads the row as a value of a `Decodable` type, by column name.
    ///
    /// - Parameter type: The type; its keys are column names, as they are or in snake case.
    /// - Returns: The value.
    /// - Throws: `decodingFailed` with column, type and row.
    public func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        try RowDecoder(columns).decode(type, row: 0)
    }

    /// A result of one row, that knows how many came before it.
    private struct Columns: ResultColumns, Sendable {
        let result: ResultSet
        let rowsBefore: Int

        var columnNames: [String] { result.columnNames }
        var columnCount: Int { result.columnCount }
        func type(of column: Int) -> PostgresType { result.type(of: column) }
        func format(of column: Int) -> PostgresFormat { result.format(of: column) }
        func withCell<R>(row: Int, column: Int, _ body: (RawSpan?) throws -> R) rethrows -> R {
            try result.withCell(row: row, column: column, body)
        }
    }
}
