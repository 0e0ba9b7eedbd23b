import TandemCore

/// A result of a query, as far as rows are read from it.
package protocol ResultColumns {
    /// The names of the columns; a stored property, since it is read for each row.
    var columnNames: [String] { get }

    /// How many rows came before the first one of this result, where a result comes in pieces; it counts in errors only.
    var rowsBefore: Int { get }

    /// How many columns there are: asked for every row, so it should not need the names.
    var columnCount: Int { get }

    /// A column's type.
    ///
    /// - Parameter column: Its place, from 0.
    /// - Returns: The type.
    func type(of column: Int) -> PostgresType

    /// How a column's values are written.
    ///
    /// - Parameter column: Its place, from 0.
    /// - Returns: The format.
    func format(of column: Int) -> PostgresFormat

    /// Gives the bytes of one value, which are only there during the call.
    ///
    /// - Parameters:
    ///   - row: The row, from 0.
    ///   - column: The column, from 0.
    ///   - body: Takes the bytes, or nil for NULL.
    /// - Returns: What the body returns.
    /// - Throws: What the body throws.
    func withCell<R>(row: Int, column: Int, _ body: (RawSpan?) throws -> R) rethrows -> R
}

extension ResultColumns {
    /// No rows came before.
    package var rowsBefore: Int { 0 }
    package var columnCount: Int { columnNames.count }

    /// Reads one value.
    ///
    /// - Parameters:
    ///   - value: What to read.
    ///   - row: The row, from 0.
    ///   - column: The column, from 0.
    /// - Returns: The value.
    /// - Throws: `TandemError` with the code `decodingFailed`, which names column and row.
    package func decode<Value: PostgresDecodable>(_ value: Value.Type, row: Int, column: Int) throws -> Value {
        let type = type(of: column)
        let format = format(of: column)
        do {
            return try withCell(row: row, column: column) { bytes in
                guard let bytes else { return try Value.decodeNull(type: type) }
                return try Value.decode(bytes, type: type, format: format)
            }
        } catch {
            throw decodingFailure(error, row: row, column: column)
        }
    }

    /// Reads the columns of a row in their order.
    ///
    /// - Parameters:
    ///   - row: The row, from 0.
    ///   - types: What to read, one type for each column.
    /// - Returns: The values.
    /// - Throws: `TandemError` with the code `decodingFailed`, which names column and row, or both counts where they differ.
    package func decodeRow<each Column: PostgresDecodable>(_ row: Int, as types: repeat (each Column).Type) throws -> (repeat each Column) {
        var wanted = 0
        for _ in repeat each types { wanted += 1 }
        guard wanted == columnCount else {
            throw TandemError(
                .decodingFailed, "the result has \(columnCount) columns and \(wanted) were to be read",
                nextStep: "name one type for each column")
        }
        var column = 0
        return try (repeat decodeNext((each Column).self, row: row, column: &column))
    }

    private func decodeNext<Value: PostgresDecodable>(_ value: Value.Type, row: Int, column: inout Int) throws -> Value {
        defer { column += 1 }
        return try decode(value, row: row, column: column)
    }

    /// What could not be read, with its place.
    ///
    /// - Parameters:
    ///   - error: Why.
    ///   - row: The row, from 0.
    ///   - column: The column, from 0.
    /// - Returns: The error to throw.
    func decodingFailure(_ error: any Error, row: Int, column: Int) -> TandemError {
        // Errors from elsewhere may hold the value, which must not get into a message; they are there as the cause.
        let reason =
            switch error {
            case let error as PostgresDecodingError: error.description
            case let error as TandemError: error.message
            case let error as DecodingError: error.tandemReason
            default: "\(Swift.type(of: error)) was thrown by the value's own decoding"
            }
        return TandemError(
            .decodingFailed,
            "column \(column + 1) \"\(columnNames[column])\" (\(type(of: column))) of row \(rowsBefore + row + 1): \(reason)", cause: error)
    }
}

extension DecodingError {
    /// What was wrong, without any value.
    var tandemReason: String {
        func path(_ context: Context) -> String {
            let keys = context.codingPath.map { $0.intValue.map { "[\($0)]" } ?? $0.stringValue }
            return keys.isEmpty ? "" : " at \(keys.joined(separator: "."))"
        }
        switch self {
        case .typeMismatch(let type, let context): return "no \(type)\(path(context))"
        case .valueNotFound(let type, let context): return "null where a \(type) was expected\(path(context))"
        case .keyNotFound(let key, let context): return "no key \(key.stringValue)\(path(context))"
        case .dataCorrupted(let context): return "malformed\(path(context))"
        @unknown default: return "malformed"
        }
    }
}
