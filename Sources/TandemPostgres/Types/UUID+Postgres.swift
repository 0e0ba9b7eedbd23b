public import FoundationEssentials

extension UUID: PostgresEncodable, PostgresDecodable {
    /// Writes the usual form in lower case.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) {
        encoder.encode(isPlain: true) { text in
            withUnsafeBytes(of: uuid) { bytes in
                var start = 0
                for (index, end) in [4, 6, 8, 10, 16].enumerated() {
                    if index > 0 { text.append(UInt8(ascii: "-")) }
                    text.appendHex(UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
                    start = end
                }
            }
        }
    }

    /// Reads a `uuid`.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The value.
    /// - Throws: An error where it is none.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> UUID {
        try decodeForm(UUID.self, bytes, type, isAccepted: type == .uuid, format: format) {
            parse($0)
        } binary: { binary in
            guard binary.count == 16 else { return nil }
            return UUID(uuid: binary.loadUnaligned(as: uuid_t.self))
        }
    }

    private static func parse(_ text: UnsafeRawBufferPointer) -> UUID? {
        guard text.count == 36 else { return nil }
        var value = UUID(uuid: (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)).uuid
        let isWellFormed = withUnsafeMutableBytes(of: &value) { bytes in
            var index = 0
            for target in bytes.indices {
                if [8, 13, 18, 23].contains(index) {
                    guard text[index] == UInt8(ascii: "-") else { return false }
                    index += 1
                }
                guard let high = TextReader.hexValue(text[index]), let low = TextReader.hexValue(text[index + 1]) else { return false }
                bytes[target] = high << 4 | low
                index += 2
            }
            return true
        }
        return isWellFormed ? UUID(uuid: value) : nil
    }
}
