/// One parameter of a statement that comes from data, such as a file.
public enum PostgresParameter: Hashable, Sendable {
    /// NULL.
    case null
    /// A value in its text form; the server reads it as the type that the statement wants.
    case text(String)
    /// A `bytea`.
    case bytes([UInt8])
}

extension PostgresParameter: PostgresEncodable {
    /// Writes the value.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) {
        switch self {
        case .null: encoder.encodeNull()
        case .text(let text): encoder.encode(text: text)
        case .bytes(let bytes): encoder.encode(bytes: bytes)
        }
    }
}
