/// Reads the text form of a value from left to right; whatever does not fit gives nil.
struct TextReader {
    let bytes: UnsafeRawBufferPointer
    var position = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var isAtEnd: Bool { position == bytes.count }

    /// The next byte, which stays.
    var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    /// Takes a word or a sign if it comes next.
    mutating func take(_ word: StaticString) -> Bool {
        let count = word.utf8CodeUnitCount
        guard bytes.count - position >= count else { return false }
        for offset in 0..<count where bytes[position + offset] != word.utf8Start[offset] { return false }
        position += count
        return true
    }

    /// Takes as many decimal digits as there are, which must be within these bounds.
    mutating func digits(_ counts: ClosedRange<Int>) -> Int64? {
        var value: Int64 = 0
        let start = position
        while let byte = next, byte &- UInt8(ascii: "0") < 10 {
            let (product, overflow) = value.multipliedReportingOverflow(by: 10)
            let (sum, overflowToo) = product.addingReportingOverflow(Int64(byte &- UInt8(ascii: "0")))
            guard !overflow, !overflowToo else { return nil }
            value = sum
            position += 1
        }
        return counts.contains(position - start) ? value : nil
    }

    /// Takes a fraction of a second of at most six digits, if a point comes next, as microseconds.
    mutating func fraction() -> Int64? {
        guard take(".") else { return 0 }
        let start = position
        guard var value = digits(1...6) else { return nil }
        for _ in (position - start)..<6 { value *= 10 }
        return value
    }

    /// Takes `+` or `-` if one comes next: 1 or -1.
    mutating func sign() -> Int64 {
        if take("-") { return -1 }
        _ = take("+")
        return 1
    }

    /// The value of a hexadecimal digit.
    static func hexValue(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

/// Reads the binary form of a value, which is in network byte order.
struct BinaryReader {
    let bytes: UnsafeRawBufferPointer
    var position = 0

    init(_ bytes: UnsafeRawBufferPointer) { self.bytes = bytes }

    var remaining: Int { bytes.count - position }

    mutating func read<Value: FixedWidthInteger>(_ type: Value.Type) -> Value? {
        let size = MemoryLayout<Value>.size
        guard remaining >= size else { return nil }
        defer { position += size }
        return Value(bigEndian: bytes.loadUnaligned(fromByteOffset: position, as: type))
    }

    mutating func read(count: Int) -> UnsafeRawBufferPointer? {
        guard count >= 0, remaining >= count else { return nil }
        defer { position += count }
        return UnsafeRawBufferPointer(rebasing: bytes[position..<(position + count)])
    }

    /// One integer that is all there is.
    static func whole<Value: FixedWidthInteger>(_ bytes: UnsafeRawBufferPointer, _ type: Value.Type) -> Value? {
        guard bytes.count == MemoryLayout<Value>.size else { return nil }
        return Value(bigEndian: bytes.loadUnaligned(as: type))
    }
}

/// Reads one value of a type that has a text and a binary form.
///
/// - Parameters:
///   - expected: The Swift type.
///   - bytes: The value's bytes.
///   - type: The server's type.
///   - isAccepted: The server's type is one that it may be read from; a value without a type may always be.
///   - format: How the bytes are written.
///   - text: Reads the text form, or gives nil.
///   - binary: Reads the binary form, or gives nil.
/// - Returns: The value.
/// - Throws: `PostgresDecodingError` where the type is another or the bytes are malformed, and what the two readers throw.
func decodeForm<Value>(
    _ expected: Value.Type, _ bytes: RawSpan, _ type: PostgresType, isAccepted: Bool, format: PostgresFormat,
    text: (UnsafeRawBufferPointer) throws -> Value?, binary: (UnsafeRawBufferPointer) throws -> Value?
) throws -> Value {
    guard isAccepted || type == .unspecified else { throw PostgresDecodingError(expected, type, .typeMismatch) }
    let value = try bytes.withUnsafeBytes { bytes in
        switch format {
        case .text: try text(bytes)
        case .binary: try binary(bytes)
        }
    }
    guard let value else { throw PostgresDecodingError(expected, type, .malformed) }
    return value
}
