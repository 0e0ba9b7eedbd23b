/// One row of a ``RowSequence``.
public struct ResultRow: Sendable {
    @usableFromInline let block: RowBlock
    @usableFromInline let number: Int

    @usableFromInline
    init(_ block: RowBlock, number: Int) {
        self.block = block
        self.number = number
    }

    /// Reads the columns in their order.
    ///
    /// - Parameter types: The type of each column.
    /// - Returns: The values.
    /// - Throws: `decodingFailed` with column, type and row.
    @inlinable
    public func decode<each Column: PostgresDecodable>(as types: repeat (each Column).Type) throws -> (repeat each Column) {
        try block.decodeRow(number, as: repeat each types)
    }

    /// Reads the row as a value of a `Decodable` type, by column name.
    ///
    /// - Parameter type: The type; its keys are column names, as they are or in snake case.
    /// - Returns: The value.
    /// - Throws: `decodingFailed` with column, type and row.
    public func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        try RowDecoder(block).decode(type, row: number)
    }
}
