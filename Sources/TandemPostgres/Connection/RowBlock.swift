/// Rows of a stream that arrived together, copied out of libpq: one object for many rows, with the columns that all blocks of the stream share.
@usableFromInline
package final class RowBlock: @unchecked Sendable, ResultColumns {
    @usableFromInline package let shape: ResultShape
    @usableFromInline package let rowsBefore: Int
    @usableFromInline let rowCount: Int
    @usableFromInline let columnCount: Int
    let byteCount: Int
    // Written by its builder only, before anybody else has it; freed with its last owner.
    @usableFromInline let cells: UnsafePointer<Cell>
    @usableFromInline let bytes: UnsafeRawPointer

    /// Where a value is.
    @usableFromInline
    struct Cell {
        @usableFromInline let start: UInt32
        /// In bytes; -1 for NULL.
        @usableFromInline let length: Int32
    }

    /// - Parameters:
    ///   - shape: The columns.
    ///   - rowsBefore: Rows of the stream that came before.
    ///   - rowCount: Its rows.
    ///   - cells: Where their values are, row after row; the block frees it.
    ///   - bytes: The values; the block frees it.
    ///   - byteCount: How many bytes they are.
    init(_ shape: ResultShape, rowsBefore: Int, rowCount: Int, cells: UnsafePointer<Cell>, bytes: UnsafeRawPointer, byteCount: Int) {
        self.shape = shape
        self.rowsBefore = rowsBefore
        self.rowCount = rowCount
        columnCount = shape.names.count
        self.cells = cells
        self.bytes = bytes
        self.byteCount = byteCount
    }

    deinit {
        cells.deallocate()
        bytes.deallocate()
    }

    @usableFromInline
    package func isNull(row: Int, column: Int) -> Bool { cells[row * columnCount + column].length < 0 }

    @inlinable
    package func value<Value: PostgresDecodable>(_ type: Value.Type, row: Int, column: Int) throws -> Value {
        let cell = cells[row * columnCount + column]
        if cell.length < 0 { return try Value.decodeNull(type: shape.types[column]) }
        let bytes = UnsafeRawBufferPointer(start: bytes + Int(cell.start), count: Int(cell.length))
        return try Value.decode(bytes.bytes, type: shape.types[column], format: shape.formats[column])
    }
}
