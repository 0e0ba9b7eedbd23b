import FoundationEssentials

/// A Swift value that stands as JSON in a column of the type `json` or `jsonb`.
///
/// ```swift
/// struct Address: Codable { var street: String, city: String }
/// try await branch.execute("UPDATE customers SET address = \(PostgresJSON(address)) WHERE id = \(7)")
/// let rows = try await branch.query("SELECT address FROM customers", as: PostgresJSON<Address>.self)
/// ```
///
/// The text as it is can be read and bound as `String`.
public struct PostgresJSON<Value> {
    /// The value.
    public var value: Value

    /// A value that is sent as JSON.
    ///
    /// - Parameter value: The value.
    public init(_ value: Value) { self.value = value }
}

extension PostgresJSON: Sendable where Value: Sendable {}
extension PostgresJSON: Equatable where Value: Equatable {}
extension PostgresJSON: Hashable where Value: Hashable {}

extension PostgresJSON: Decodable where Value: Decodable {
    /// Reads the value itself.
    ///
    /// - Parameter decoder: Where the value comes from.
    /// - Throws: What reading the value throws.
    public init(from decoder: any Decoder) throws { value = try Value(from: decoder) }
}

extension PostgresJSON: Encodable where Value: Encodable {
    /// Writes the value itself.
    ///
    /// - Parameter encoder: Where the value goes.
    /// - Throws: What writing the value throws.
    public func encode(to encoder: any Encoder) throws { try value.encode(to: encoder) }
}

extension PostgresJSON: PostgresArrayEncodable where Value: Encodable {}

extension PostgresJSON: PostgresEncodable where Value: Encodable {
    /// Writes the JSON text.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) {
        do {
            let data = try JSONEncoder().encode(value)
            encoder.encode(isPlain: false) { $0.append(contentsOf: data) }
        } catch {
            encoder.fail("\(Value.self) could not be written as JSON")
        }
    }
}

extension PostgresJSON: PostgresArrayDecodable where Value: Decodable {}

extension PostgresJSON: PostgresDecodable where Value: Decodable {
    /// Reads a `json` or `jsonb`.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The value.
    /// - Throws: An error where it is no JSON, or not the JSON of such a value.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> PostgresJSON {
        try decodeForm(PostgresJSON.self, bytes, type, isAccepted: type.isJSON, format: format) {
            PostgresJSON(try JSONDecoder().decode(Value.self, from: Data($0)))
        } binary: {
            guard let text = type == .jsonb ? $0.jsonbText : $0 else { return nil }
            return PostgresJSON(try JSONDecoder().decode(Value.self, from: Data(text)))
        }
    }
}
