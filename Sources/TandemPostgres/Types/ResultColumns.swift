public import TandemCore

/// A result of a query, as far as rows are read from it.
@usableFromInline
package protocol ResultColumns {
    /// Its columns; a stored property, since it is read for each row.
    var shape: ResultShape { get }

    /// How many rows came before the first one of this result, where a result comes in pieces; it counts in errors only.
    var rowsBefore: Int { get }

    /// Whether a value is NULL.
    ///
    /// - Parameters:
    ///   - row: The row, from 0.
    ///   - column: The column, from 0.
    /// - Returns: Whether it is.
    func isNull(row: Int, column: Int) -> Bool

    /// Reads one value, or what stands for NULL.
    ///
    /// - Parameters:
    ///   - type: What to read.
    ///   - row: The row, from 0.
    ///   - column: The column, from 0.
    /// - Returns: The value.
    /// - Throws: What its own decoding throws, which names no place.
    func value<Value: PostgresDecodable>(_ type: Value.Type, row: Int, column: Int) throws -> Value
}

extension ResultColumns {
    /// Reads one value.
    ///
    /// - Parameters:
    ///   - value: What to read.
    ///   - row: The row, from 0.
    ///   - column: The column, from 0.
    /// - Returns: The value.
    /// - Throws: `TandemError` with the code `decodingFailed`, which names column and row.
    package func decode<Value: PostgresDecodable>(_ value: Value.Type, row: Int, column: Int) throws -> Value {
        do {
            return try self.value(value, row: row, column: column)
        } catch {
            throw decodingFailure(error, row: row, column: column)
        }
    }

    /// Reads the columns of a row in their order.
    ///
    /// It is called for every row, mostly where the types are not known to the compiler: each metatype that it handed on would be looked up again.
    ///
    /// - Parameters:
    ///   - row: The row, from 0.
    ///   - types: What to read, one type for each column.
    /// - Returns: The values.
    /// - Throws: `TandemError` with the code `decodingFailed`, which names column and row, or both counts where they differ.
    @inlinable
    package func decodeRow<each Column: PostgresDecodable>(_ row: Int, as types: repeat (each Column).Type) throws -> (repeat each Column) {
        var wanted = 0
        for _ in repeat each types { wanted += 1 }
        guard wanted == shape.names.count else { throw columnCountFailure(wanted) }
        var column = 0
        do {
            return try (repeat next(row, &column) as each Column)
        } catch {
            throw decodingFailure(error, row: row, column: column - 1)
        }
    }

    @usableFromInline
    func columnCountFailure(_ wanted: Int) -> TandemError {
        TandemError(
            .decodingFailed, "the result has \(shape.names.count) columns and \(wanted) were to be read", nextStep: "name one type for each column")
    }

    @inlinable @inline(__always)
    func next<Value: PostgresDecodable>(_ row: Int, _ column: inout Int) throws -> Value {
        column += 1
        return try value(Value.self, row: row, column: column - 1)
    }

    /// What could not be read, with its place.
    ///
    /// - Parameters:
    ///   - error: Why.
    ///   - row: The row, from 0.
    ///   - column: The column, from 0.
    /// - Returns: The error to throw.
    @usableFromInline
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
            "column \(column + 1) \"\(shape.names[column])\" (\(shape.types[column])) of row \(rowsBefore + row + 1): \(reason)", cause: error)
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
