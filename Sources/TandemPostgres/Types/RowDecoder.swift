import FoundationEssentials
import TandemCore

/// Reads rows as values of a `Decodable` type.
///
/// A property is read from the column with exactly its key's name, else from the one with its name in snake case: `createdAt` from
/// `created_at`. What conforms to ``PostgresDecodable`` is read by that; anything else comes from a `json` or `jsonb` column, or reads a
/// single value itself. An optional property without a column is nil, as in all decoders.
///
/// One decoder serves all rows of a result, and remembers which key is which column.
package struct RowDecoder<Result: ResultColumns> {
    private let columns: ColumnIndex<Result>

    /// A decoder for a result's rows.
    ///
    /// - Parameter result: The result.
    package init(_ result: Result) { columns = ColumnIndex(result) }

    /// Reads a row.
    ///
    /// A type that is one value, such as `Int` or `UUID`, is read from a result with one column.
    ///
    /// - Parameters:
    ///   - type: What to read.
    ///   - row: The row, from 0.
    /// - Returns: The value.
    /// - Throws: `TandemError` with the code `decodingFailed`, which names column and row.
    package func decode<Value: Decodable>(_ type: Value.Type, row: Int) throws -> Value {
        do {
            if type is any PostgresDecodable.Type {
                return try SingleValue(columns: columns, row: row, column: try columns.onlyColumn(), codingPath: []).decode(type)
            }
            return try Value(from: RowValueDecoder(columns: columns, row: row))
        } catch let error as DecodingError {
            throw TandemError(.decodingFailed, "row \(columns.result.rowsBefore + row + 1): \(error.tandemReason)", cause: error)
        }
    }
}

/// Which column a key is.
private final class ColumnIndex<Result: ResultColumns> {
    let result: Result
    private let columns: [String: Int?]
    /// Columns that were found by their names in snake case.
    private var found: [String: Int] = [:]

    init(_ result: Result) {
        self.result = result
        columns = result.shape.columnsByName
    }

    /// The column of a key; nil where there is none.
    func column(for key: some CodingKey) throws -> Int? {
        let name = key.stringValue
        if let known = columns[name] {
            guard let column = known else {
                throw TandemError(
                    .decodingFailed, "several columns have the name \"\(name)\"", nextStep: "give each its own name with AS")
            }
            return column
        }
        if let column = found[name] { return column }
        let snake = name.snakeCased
        guard snake != name, let known = columns[snake] else { return nil }
        guard let column = known else {
            throw TandemError(.decodingFailed, "several columns have the name \"\(snake)\"", nextStep: "give each its own name with AS")
        }
        // The next row finds it at once.
        found[name] = column
        return column
    }

    func onlyColumn() throws -> Int {
        guard result.shape.names.count == 1 else {
            throw TandemError(
                .decodingFailed, "the result has \(result.shape.names.count) columns and 1 was to be read",
                nextStep: "read a struct with a property for each column")
        }
        return 0
    }

    func isNull(row: Int, column: Int) -> Bool { result.isNull(row: row, column: column) }

    /// Reads a value in whichever way its type and the column's type have in common.
    func decode<Value: Decodable>(_ type: Value.Type, row: Int, column: Int, codingPath: [any CodingKey]) throws -> Value {
        // A JSON column holds whatever was encoded, also what would otherwise be a type of the server; String is its text.
        if result.shape.types[column].isJSON, type != String.self, !isNull(row: row, column: column) {
            return try result.decode(PostgresJSON<Value>.self, row: row, column: column).value
        }
        if let known = type as? any PostgresDecodable.Type, let value = try decode(known, row: row, column: column) as? Value {
            return value
        }
        do {
            return try Value(from: CellDecoder(columns: self, row: row, column: column, codingPath: codingPath))
        } catch let error as DecodingError {
            throw result.decodingFailure(error, row: row, column: column)
        }
    }

    private func decode(_ type: any PostgresDecodable.Type, row: Int, column: Int) throws -> any PostgresDecodable {
        try result.decode(type, row: row, column: column)
    }
}

/// A row as a decoder.
private struct RowValueDecoder<Result: ResultColumns>: Decoder {
    let columns: ColumnIndex<Result>
    let row: Int
    var codingPath: [any CodingKey] { [] }
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedDecodingContainer<Key> {
        KeyedDecodingContainer(RowContainer(columns: columns, row: row))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        throw TandemError(.decodingFailed, "a row is read by the names of its columns, not as an array")
    }

    func singleValueContainer() throws -> any SingleValueDecodingContainer {
        SingleValue(columns: columns, row: row, column: try columns.onlyColumn(), codingPath: [])
    }
}

/// The columns of a row by key.
private struct RowContainer<Result: ResultColumns, Key: CodingKey>: KeyedDecodingContainerProtocol {
    let columns: ColumnIndex<Result>
    let row: Int
    var codingPath: [any CodingKey] { [] }
    var allKeys: [Key] { columns.result.shape.names.compactMap { Key(stringValue: $0) } }

    func contains(_ key: Key) -> Bool {
        // A name of several columns is there; reading it says what is wrong.
        do { return try columns.column(for: key) != nil } catch { return true }
    }

    func decodeNil(forKey key: Key) throws -> Bool { columns.isNull(row: row, column: try column(for: key)) }

    func decode(_ type: Bool.Type, forKey key: Key) throws -> Bool { try value(type, key) }
    func decode(_ type: String.Type, forKey key: Key) throws -> String { try value(type, key) }
    func decode(_ type: Double.Type, forKey key: Key) throws -> Double { try value(type, key) }
    func decode(_ type: Float.Type, forKey key: Key) throws -> Float { try value(type, key) }
    func decode(_ type: Int.Type, forKey key: Key) throws -> Int { try value(type, key) }
    func decode(_ type: Int8.Type, forKey key: Key) throws -> Int8 { try single(key).decode(type) }
    func decode(_ type: Int16.Type, forKey key: Key) throws -> Int16 { try value(type, key) }
    func decode(_ type: Int32.Type, forKey key: Key) throws -> Int32 { try value(type, key) }
    func decode(_ type: Int64.Type, forKey key: Key) throws -> Int64 { try value(type, key) }
    func decode(_ type: UInt.Type, forKey key: Key) throws -> UInt { try single(key).decode(type) }
    func decode(_ type: UInt8.Type, forKey key: Key) throws -> UInt8 { try single(key).decode(type) }
    func decode(_ type: UInt16.Type, forKey key: Key) throws -> UInt16 { try single(key).decode(type) }
    func decode(_ type: UInt32.Type, forKey key: Key) throws -> UInt32 { try value(type, key) }
    func decode(_ type: UInt64.Type, forKey key: Key) throws -> UInt64 { try single(key).decode(type) }

    func decode<Value: Decodable>(_ type: Value.Type, forKey key: Key) throws -> Value {
        try columns.decode(type, row: row, column: try column(for: key), codingPath: [key])
    }

    func nestedContainer<NestedKey: CodingKey>(keyedBy type: NestedKey.Type, forKey key: Key) throws -> KeyedDecodingContainer<NestedKey> {
        throw columns.result.nestedContainerFailure(row: row, column: try column(for: key))
    }

    func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
        throw columns.result.nestedContainerFailure(row: row, column: try column(for: key))
    }

    func superDecoder() -> any Decoder { RowValueDecoder(columns: columns, row: row) }

    func superDecoder(forKey key: Key) throws -> any Decoder {
        CellDecoder(columns: columns, row: row, column: try column(for: key), codingPath: [key])
    }

    /// The way of the types that are most of all properties, without a look at their conformances.
    private func value<Value: PostgresDecodable & Decodable>(_ type: Value.Type, _ key: Key) throws -> Value {
        let column = try column(for: key)
        if columns.result.shape.types[column].isJSON { return try columns.decode(type, row: row, column: column, codingPath: [key]) }
        return try columns.result.decode(type, row: row, column: column)
    }

    private func single(_ key: Key) throws -> SingleValue<Result> {
        SingleValue(columns: columns, row: row, column: try column(for: key), codingPath: [key])
    }

    private func column(for key: Key) throws -> Int {
        guard let column = try columns.column(for: key) else {
            throw TandemError(
                .decodingFailed, "the result has no column \"\(key.stringValue)\"", nextStep: "select it, or name it so with AS")
        }
        return column
    }
}

/// One value as a decoder, for types that read a single value, such as enums.
private struct CellDecoder<Result: ResultColumns>: Decoder {
    let columns: ColumnIndex<Result>
    let row: Int
    let column: Int
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        throw columns.result.nestedContainerFailure(row: row, column: column)
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        throw columns.result.nestedContainerFailure(row: row, column: column)
    }

    func singleValueContainer() -> any SingleValueDecodingContainer {
        SingleValue(columns: columns, row: row, column: column, codingPath: codingPath)
    }
}

/// One value.
private struct SingleValue<Result: ResultColumns>: SingleValueDecodingContainer {
    let columns: ColumnIndex<Result>
    let row: Int
    let column: Int
    let codingPath: [any CodingKey]

    func decodeNil() -> Bool { columns.isNull(row: row, column: column) }

    func decode(_ type: Int8.Type) throws -> Int8 { try integer(type) }
    func decode(_ type: UInt.Type) throws -> UInt { try integer(type) }
    func decode(_ type: UInt8.Type) throws -> UInt8 { try integer(type) }
    func decode(_ type: UInt16.Type) throws -> UInt16 { try integer(type) }
    func decode(_ type: UInt64.Type) throws -> UInt64 { try integer(type) }

    func decode<Value: Decodable>(_ type: Value.Type) throws -> Value {
        try columns.decode(type, row: row, column: column, codingPath: codingPath)
    }

    /// Integers that the server does not have, from those that it has.
    private func integer<Value: FixedWidthInteger & Decodable>(_ type: Value.Type) throws -> Value {
        if columns.result.shape.types[column].isJSON {
            return try columns.decode(type, row: row, column: column, codingPath: codingPath)
        }
        let numeric = try columns.result.decode(PostgresNumeric.self, row: row, column: column)
        guard let value = Value(exactly: numeric) else {
            throw columns.result.decodingFailure(
                PostgresDecodingError(type, columns.result.shape.types[column], .outOfRange), row: row, column: column)
        }
        return value
    }
}

extension ResultColumns {
    fileprivate func nestedContainerFailure(row: Int, column: Int) -> TandemError {
        let reason = PostgresDecodingError.Reason.refused("only a json or jsonb column holds a value with parts")
        return decodingFailure(PostgresDecodingError((any Decodable).self, shape.types[column], reason), row: row, column: column)
    }
}

extension String {
    /// `createdAt` as `created_at`, `userID` as `user_id`, `htmlBody` as `html_body`, `URLPath` as `url_path`.
    var snakeCased: String {
        var result: [UInt8] = []
        let bytes = Array(utf8)
        for (index, byte) in bytes.enumerated() {
            let isUpper = byte != byte.asciiLowercased
            if isUpper, index > 0, bytes[index - 1] != UInt8(ascii: "_") {
                let followsLower = bytes[index - 1] == bytes[index - 1].asciiLowercased
                let beginsWord = index + 1 < bytes.count && bytes[index + 1] != bytes[index + 1].asciiUppercased
                if followsLower || beginsWord { result.append(UInt8(ascii: "_")) }
            }
            result.append(byte.asciiLowercased)
        }
        return String(decoding: result, as: UTF8.self)
    }
}

extension UInt8 {
    fileprivate var asciiUppercased: UInt8 {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(self) ? self & 0xdf : self
    }
}
