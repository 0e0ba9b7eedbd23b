/// A value that can be bound to a placeholder of ``SQL``.
///
/// Conform a type of your own by writing one of the forms that ``PostgresEncoder`` offers:
///
/// ```swift
/// struct Account: PostgresEncodable {
///     var number: Int
///     func encode(into encoder: inout PostgresEncoder) { encoder.encode(text: "A\(number)") }
/// }
/// ```
///
/// An enum with a raw value needs the conformance and nothing else.
public protocol PostgresEncodable: PostgresArrayEncodable {
    /// Writes the value, exactly once.
    ///
    /// - Parameter encoder: Where the value goes.
    func encode(into encoder: inout PostgresEncoder)
}

/// A value of which a Swift array can be bound: every ``PostgresEncodable``, as an array of the server, and `UInt8`, as one `bytea`.
public protocol PostgresArrayEncodable {
    /// Writes an array of such values as one value.
    ///
    /// - Parameters:
    ///   - elements: The elements in order.
    ///   - encoder: Where the array goes.
    static func encodeArray(_ elements: [Self], into encoder: inout PostgresEncoder)
}

extension PostgresEncodable {
    /// Writes the elements as an array with one dimension that begins at 1.
    ///
    /// - Parameters:
    ///   - elements: The elements in order.
    ///   - encoder: Where the array goes.
    public static func encodeArray(_ elements: [Self], into encoder: inout PostgresEncoder) {
        encoder.encodeArray(elements, dimensions: [PostgresArrayDimension(count: elements.count)])
    }
}

extension PostgresEncodable where Self: RawRepresentable, RawValue: PostgresEncodable {
    /// Writes the raw value.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) { rawValue.encode(into: &encoder) }
}

extension Optional: PostgresArrayEncodable where Wrapped: PostgresEncodable {}

extension Optional: PostgresEncodable where Wrapped: PostgresEncodable {
    /// Writes the value, or NULL where there is none.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) {
        switch self {
        case .none: encoder.encodeNull()
        case .some(let value): value.encode(into: &encoder)
        }
    }
}
