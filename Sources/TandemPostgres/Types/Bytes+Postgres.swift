public import FoundationEssentials

extension UInt8: PostgresArrayEncodable, PostgresArrayDecodable {
    /// Writes the bytes as one `bytea`.
    ///
    /// - Parameters:
    ///   - elements: The bytes.
    ///   - encoder: Where the value goes.
    public static func encodeArray(_ elements: [UInt8], into encoder: inout PostgresEncoder) {
        encoder.encode(bytes: elements)
    }

    /// Reads a `bytea`: its text form, hexadecimal or escaped, or its bytes.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The bytes of the value.
    /// - Throws: An error where it is no `bytea`.
    public static func decodeArray(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> [UInt8] {
        try decodeForm([UInt8].self, bytes, type, isAccepted: type == .bytea, format: format) {
            parseBytea($0)
        } binary: {
            Array($0)
        }
    }

    private static func parseBytea(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
        text.starts(with: "\\x".utf8) ? parseHex(text) : parseEscaped(text)
    }

    private static func parseHex(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
        guard text.count % 2 == 0 else { return nil }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count / 2 - 1)
        for index in stride(from: 2, to: text.count, by: 2) {
            guard let high = TextReader.hexValue(text[index]), let low = TextReader.hexValue(text[index + 1]) else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    private static func parseEscaped(_ text: UnsafeRawBufferPointer) -> [UInt8]? {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.count)
        var index = 0
        while index < text.count {
            guard text[index] == UInt8(ascii: "\\") else {
                bytes.append(text[index])
                index += 1
                continue
            }
            if index + 1 < text.count, text[index + 1] == UInt8(ascii: "\\") {
                bytes.append(UInt8(ascii: "\\"))
                index += 2
                continue
            }
            guard index + 3 < text.count else { return nil }
            var value = 0
            for byte in text[(index + 1)...(index + 3)] {
                let digit = byte &- UInt8(ascii: "0")
                guard digit < 8 else { return nil }
                value = value * 8 + Int(digit)
            }
            guard value <= 255 else { return nil }
            bytes.append(UInt8(value))
            index += 4
        }
        return bytes
    }
}

extension Data: PostgresEncodable, PostgresDecodable {
    /// Writes a `bytea`.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) {
        withUnsafeBytes { encoder.encode(bytes: $0) }
    }

    /// Reads a `bytea`.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The bytes of the value.
    /// - Throws: An error where it is no `bytea`.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> Data {
        Data(try UInt8.decodeArray(bytes, type: type, format: format))
    }
}
