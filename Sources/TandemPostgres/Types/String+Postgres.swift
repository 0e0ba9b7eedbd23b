extension String: PostgresEncodable, PostgresDecodable {
    /// Writes the text; the server reads it as the type that the statement wants.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) { encoder.encode(text: self) }

    /// Reads the text form of any type, which is how types without a Swift type of their own are read: enums, composites, ranges.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written; in binary only types whose binary form is text, and JSON.
    /// - Returns: The text.
    /// - Throws: An error where the bytes are not valid UTF-8, or where the binary form is no text.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> String {
        try decodeForm(String.self, bytes, type, isAccepted: format == .text || type.isTextLike || type == .jsonb, format: format) {
            validated($0)
        } binary: {
            type == .jsonb ? $0.jsonbText.flatMap(validated) : validated($0)
        }
    }

    /// A third of the time of `String(validating:as:)`, which is generic over encodings.
    private static func validated(_ bytes: UnsafeRawBufferPointer) -> String? {
        guard let text = try? UTF8Span(validating: Span(_unsafeElements: bytes.assumingMemoryBound(to: UInt8.self))) else { return nil }
        return String(copying: text)
    }
}

extension String {
    /// The text as PostgreSQL can hold it: U+0000, which is in no text there, is replaced by U+FFFD.
    package var withoutNUL: String {
        guard utf8.contains(0) else { return self }
        var text = String.UnicodeScalarView()
        for scalar in unicodeScalars { text.append(scalar == "\0" ? "\u{FFFD}" : scalar) }
        return String(text)
    }
}

extension UnsafeRawBufferPointer {
    /// The text inside the binary form of `jsonb`, which is a version and the text.
    var jsonbText: UnsafeRawBufferPointer? {
        guard first == 1 else { return nil }
        return UnsafeRawBufferPointer(rebasing: dropFirst())
    }
}
