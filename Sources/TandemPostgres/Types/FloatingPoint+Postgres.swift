extension BinaryFloatingPoint where Self: LosslessStringConvertible {
    /// Writes the shortest digits that give the same number again.
    fileprivate func encodeShortest(into encoder: inout PostgresEncoder) {
        let text = isNaN ? "NaN" : isInfinite ? (self < 0 ? "-Infinity" : "Infinity") : description
        encoder.encode(isPlain: true) { $0.append(contentsOf: text.utf8) }
    }

    /// Reads the text form of a number.
    fileprivate static func parse(_ text: UnsafeRawBufferPointer) -> Self? {
        var reader = TextReader(text)
        if reader.take("NaN"), reader.isAtEnd { return nan }
        if reader.take("Infinity"), reader.isAtEnd { return infinity }
        if reader.take("-Infinity"), reader.isAtEnd { return -infinity }
        if let value = parseShort(text) { return value }
        // Swift reads more than the server writes: hexadecimal digits, "inf", and what overflows.
        let isDecimal = text.allSatisfy { byte in
            SQLScanner.isDigit(byte) || "+-.eE".utf8.contains(byte)
        }
        guard isDecimal, let value = Self(String(decoding: text, as: UTF8.self)), value.isFinite else { return nil }
        return value
    }
}

extension BinaryFloatingPoint {
    /// Reads digits with or without a point, as long as they are an integer and a power of ten that the type holds exactly: one division rounds
    /// correctly. Source: W. D. Clinger, How to Read Floating Point Numbers Accurately, 1990.
    fileprivate static func parseShort(_ text: UnsafeRawBufferPointer) -> Self? {
        guard text.count <= 16 else { return nil }
        let isNegative = text.first == UInt8(ascii: "-")
        let start = isNegative ? 1 : 0
        var digits: UInt64 = 0
        var point = text.count
        for index in start..<text.count {
            let digit = text[index] &- UInt8(ascii: "0")
            if digit < 10 {
                digits = digits &* 10 &+ UInt64(digit)
            } else {
                guard text[index] == UInt8(ascii: "."), point == text.count else { return nil }
                point = index
            }
        }
        let scale = max(0, text.count - point - 1)
        let hasDigits = point > start && point != text.count - 1
        guard hasDigits, digits >> (significandBitCount + 1) == 0, scale <= (significandBitCount > 23 ? 15 : 10) else { return nil }
        let value = Self(digits) / Self(powersOfTen[scale])
        return isNegative ? -value : value
    }
}

private let powersOfTen: [Double] = [1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15]

extension Double: PostgresEncodable, PostgresDecodable {
    /// Writes the shortest digits that give the same number again, `NaN`, `Infinity` or `-Infinity`.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) { encodeShortest(into: &encoder) }

    /// Reads a `double precision`, or what fits into one without loss: `real`, `integer`, `smallint`.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The value.
    /// - Throws: An error where it is none; a `numeric` or `bigint` is refused, since digits could be lost: cast it in the statement.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> Double {
        switch type {
        case .float8, .unspecified:
            try decodeForm(Double.self, bytes, type, isAccepted: true, format: format) {
                parse($0)
            } binary: {
                BinaryReader.whole($0, UInt64.self).map { Double(bitPattern: $0) }
            }
        case .float4: Double(try Float.decode(bytes, type: type, format: format))
        case .int4, .int2: Double(try Int32.decode(bytes, type: type, format: format))
        default: throw PostgresDecodingError(Double.self, type, .typeMismatch)
        }
    }
}

extension Float: PostgresEncodable, PostgresDecodable {
    /// Writes the shortest digits that give the same number again, `NaN`, `Infinity` or `-Infinity`.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) { encodeShortest(into: &encoder) }

    /// Reads a `real`, or a `smallint`.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The value.
    /// - Throws: An error where it is none, or where digits could be lost.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> Float {
        if type == .int2 { return Float(try Int16.decode(bytes, type: type, format: format)) }
        return try decodeForm(Float.self, bytes, type, isAccepted: type == .float4, format: format) {
            parse($0)
        } binary: {
            BinaryReader.whole($0, UInt32.self).map { Float(bitPattern: $0) }
        }
    }
}
