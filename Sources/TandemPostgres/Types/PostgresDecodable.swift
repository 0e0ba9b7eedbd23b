/// A value that can be read from a column.
///
/// Conform a type of your own by reading one that conforms already:
///
/// ```swift
/// struct Account: PostgresDecodable {
///     var number: Int
///     static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> Account {
///         Account(number: try Int.decode(bytes, type: type, format: format))
///     }
/// }
/// ```
///
/// An enum with a raw value needs the conformance and nothing else.
public protocol PostgresDecodable: PostgresArrayDecodable {
    /// Reads a value that is not NULL.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them; they are only there during the call.
    ///   - type: The column's type.
    ///   - format: How the bytes are written; a decoder takes both forms.
    /// - Returns: The value.
    /// - Throws: Any error where the bytes or the type do not make such a value; it comes out as the cause of a `TandemError` with the code
    ///   `decodingFailed` that names column and row.
    static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> Self

    /// What stands for NULL; where it is not implemented, NULL is an error.
    ///
    /// - Parameter type: The column's type.
    /// - Returns: The value that stands for NULL.
    /// - Throws: An error where nothing stands for NULL.
    static func decodeNull(type: PostgresType) throws -> Self
}

/// A value of which a Swift array can be read: every ``PostgresDecodable``, from an array of the server, and `UInt8`, from a `bytea`.
public protocol PostgresArrayDecodable {
    /// Reads an array of such values from one value.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The elements in order.
    /// - Throws: An error where the bytes are no such array, or where it has several dimensions.
    static func decodeArray(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> [Self]
}

extension PostgresDecodable {
    /// Refuses NULL.
    ///
    /// - Parameter type: The column's type.
    /// - Returns: Never.
    /// - Throws: An error that says so.
    public static func decodeNull(type: PostgresType) throws -> Self {
        throw PostgresDecodingError(Self.self, type, .null)
    }

    /// Reads an array with one dimension; use ``PostgresArray`` for several.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The elements in order, wherever the array's index begins.
    /// - Throws: An error where the bytes are no such array, or where it has several dimensions.
    public static func decodeArray(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> [Self] {
        let array = try PostgresArray<Self>.decode(bytes, type: type, format: format)
        guard array.dimensions.count <= 1 else {
            throw PostgresDecodingError(
                [Self].self, type, .refused("the array has \(array.dimensions.count) dimensions; read it as a PostgresArray"))
        }
        return array.elements
    }
}

extension PostgresDecodable where Self: RawRepresentable, RawValue: PostgresDecodable {
    /// Reads the raw value.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The value with that raw value.
    /// - Throws: An error where there is none.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> Self {
        let rawValue = try RawValue.decode(bytes, type: type, format: format)
        guard let value = Self(rawValue: rawValue) else {
            throw PostgresDecodingError(Self.self, type, .refused("no case has this raw value"))
        }
        return value
    }
}

extension Optional: PostgresArrayDecodable where Wrapped: PostgresDecodable {}

extension Optional: PostgresDecodable where Wrapped: PostgresDecodable {
    /// Reads the wrapped value.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The value.
    /// - Throws: What reading the wrapped value throws.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> Wrapped? {
        try Wrapped.decode(bytes, type: type, format: format)
    }

    /// NULL is nil.
    ///
    /// - Parameter type: The column's type.
    /// - Returns: nil.
    public static func decodeNull(type: PostgresType) -> Wrapped? { nil }
}
