import CLibPQ

/// Reads the rows of a ``ResultSet``.
@usableFromInline
package struct ResultReader: ResultColumns {
    private let result: ResultSet
    @usableFromInline package let shape: ResultShape

    init(_ result: ResultSet) {
        self.result = result
        shape = result.shape
    }

    @usableFromInline package var rowsBefore: Int { 0 }

    @usableFromInline
    package func isNull(row: Int, column: Int) -> Bool { PQgetisnull(result.handle, Int32(row), Int32(column)) == 1 }

    @inlinable
    package func value<Value: PostgresDecodable>(_ type: Value.Type, row: Int, column: Int) throws -> Value {
        guard let bytes = cell(row, column) else { return try Value.decodeNull(type: shape.types[column]) }
        return try Value.decode(bytes.bytes, type: shape.types[column], format: shape.formats[column])
    }

    /// The bytes of a value, as long as the result lives; nil for NULL.
    @usableFromInline
    func cell(_ row: Int, _ column: Int) -> UnsafeRawBufferPointer? {
        let row = Int32(row), column = Int32(column)
        let length = PQgetlength(result.handle, row, column)
        // Of most values the length says that they are not NULL.
        if length == 0, PQgetisnull(result.handle, row, column) == 1 { return nil }
        return UnsafeRawBufferPointer(start: PQgetvalue(result.handle, row, column), count: Int(length))
    }
}
