extension Bool: PostgresEncodable, PostgresDecodable {
    /// Writes `t` or `f`.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) {
        encoder.encode(isPlain: true) { $0.append(UInt8(ascii: self ? "t" : "f")) }
    }

    /// Reads a `boolean`.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The value.
    /// - Throws: An error where it is none.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> Bool {
        try decodeForm(Bool.self, bytes, type, isAccepted: type == .bool, format: format) { text in
            guard text.count == 1 else { return nil }
            switch text[0] {
            case UInt8(ascii: "t"): return true
            case UInt8(ascii: "f"): return false
            default: return nil
            }
        } binary: { binary in
            guard let byte = BinaryReader.whole(binary, UInt8.self), byte <= 1 else { return nil }
            return byte == 1
        }
    }
}
