extension FixedWidthInteger {
    fileprivate func encodeDecimal(into encoder: inout PostgresEncoder) {
        encoder.encode(isPlain: true) { $0.appendDecimal(self) }
    }

    /// Reads an integer of any width that the server has; one that does not fit is an error, never another number.
    fileprivate static func decodeInteger(_ bytes: RawSpan, _ type: PostgresType, _ format: PostgresFormat) throws -> Self {
        switch type {
        case .int8, .int4, .int2, .oid, .xid, .cid, .xid8, .unspecified: break
        case .numeric: return try decodeNumeric(bytes, format)
        default: throw PostgresDecodingError(Self.self, type, .typeMismatch)
        }
        let value =
            switch format {
            case .text: bytes.withUnsafeBytes { parse($0) }
            case .binary: try bytes.withUnsafeBytes { try read($0, type) }
            }
        guard let value else { throw PostgresDecodingError(Self.self, type, .malformed) }
        guard let fitting = value else { throw PostgresDecodingError(Self.self, type, .outOfRange) }
        return fitting
    }

    /// The number in a text of digits: nil where it is none, and nil inside where it does not fit.
    private static func parse(_ text: UnsafeRawBufferPointer) -> Self?? {
        var index = 0
        let isNegative = text.first == UInt8(ascii: "-")
        if isNegative { index = 1 }
        guard index < text.count else { return nil }
        var value: Self = 0
        var fits = true
        while index < text.count {
            let digit = text[index] &- UInt8(ascii: "0")
            guard digit < 10 else { return nil }
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            // A negative number is built downwards, since the least one has no positive counterpart.
            let step = Self(digit)
            let (sum, overflowToo) = isNegative ? product.subtractingReportingOverflow(step) : product.addingReportingOverflow(step)
            if overflow || overflowToo { fits = false }
            value = sum
            index += 1
        }
        return .some(fits ? value : nil)
    }

    private static func read(_ binary: UnsafeRawBufferPointer, _ type: PostgresType) throws -> Self?? {
        switch type {
        case .int8: return BinaryReader.whole(binary, Int64.self).map { Self(exactly: $0) }
        case .int4: return BinaryReader.whole(binary, Int32.self).map { Self(exactly: $0) }
        case .int2: return BinaryReader.whole(binary, Int16.self).map { Self(exactly: $0) }
        case .oid, .xid, .cid: return BinaryReader.whole(binary, UInt32.self).map { Self(exactly: $0) }
        case .xid8: return BinaryReader.whole(binary, UInt64.self).map { Self(exactly: $0) }
        default: throw PostgresDecodingError(Self.self, type, .typeMismatch)
        }
    }

    private static func decodeNumeric(_ bytes: RawSpan, _ format: PostgresFormat) throws -> Self {
        let numeric = try PostgresNumeric.decode(bytes, type: .numeric, format: format)
        guard numeric.isFinite, numeric.isInteger else { throw PostgresDecodingError(Self.self, .numeric, .losesDigits) }
        guard let value = Self(exactly: numeric) else { throw PostgresDecodingError(Self.self, .numeric, .outOfRange) }
        return value
    }
}

extension Int: PostgresEncodable, PostgresDecodable {
    /// Writes the digits.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) { encodeDecimal(into: &encoder) }

    /// Reads an integer of any width, or a `numeric` without a fraction.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The value.
    /// - Throws: An error where it is none, or where it does not fit.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> Int {
        try decodeInteger(bytes, type, format)
    }
}

extension Int64: PostgresEncodable, PostgresDecodable {
    /// Writes the digits.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) { encodeDecimal(into: &encoder) }

    /// Reads an integer of any width, or a `numeric` without a fraction.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The value.
    /// - Throws: An error where it is none, or where it does not fit.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> Int64 {
        try decodeInteger(bytes, type, format)
    }
}

extension Int32: PostgresEncodable, PostgresDecodable {
    /// Writes the digits.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) { encodeDecimal(into: &encoder) }

    /// Reads an integer of any width, or a `numeric` without a fraction.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The value.
    /// - Throws: An error where it is none, or where it does not fit.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> Int32 {
        try decodeInteger(bytes, type, format)
    }
}

extension Int16: PostgresEncodable, PostgresDecodable {
    /// Writes the digits.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) { encodeDecimal(into: &encoder) }

    /// Reads an integer of any width, or a `numeric` without a fraction.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The value.
    /// - Throws: An error where it is none, or where it does not fit.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> Int16 {
        try decodeInteger(bytes, type, format)
    }
}

extension UInt32: PostgresEncodable, PostgresDecodable {
    /// Writes the digits.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) { encodeDecimal(into: &encoder) }

    /// Reads an integer of any width, or a `numeric` without a fraction.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The value.
    /// - Throws: An error where it is none, or where it does not fit.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> UInt32 {
        try decodeInteger(bytes, type, format)
    }
}
