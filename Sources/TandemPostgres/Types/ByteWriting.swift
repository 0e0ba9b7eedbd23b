/// Pieces of text forms, appended without a String in between.
extension [UInt8] {
    /// Appends an integer in decimal.
    mutating func appendDecimal(_ value: some FixedWidthInteger, width: Int = 1) {
        if value < 0 { append(UInt8(ascii: "-")) }
        var rest = UInt64(value.magnitude)
        let start = count
        repeat {
            append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: rest % 10))
            rest /= 10
        } while rest > 0
        while count - start < width { append(UInt8(ascii: "0")) }
        self[start...].reverse()
    }

    /// Appends the bytes of an integer, the most significant first, as the binary forms of the server have them.
    mutating func appendBigEndian(_ value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }

    /// Appends two lower-case hexadecimal digits for each byte.
    mutating func appendHex(_ bytes: UnsafeRawBufferPointer) {
        reserveCapacity(count + bytes.count * 2)
        for byte in bytes {
            append(Self.hexDigit(byte >> 4))
            append(Self.hexDigit(byte & 15))
        }
    }

    /// Puts a backslash before each quote and backslash from a place to the end, as inside the quotes of an array's element.
    mutating func escapeArrayElement(from start: Int) {
        let quote = UInt8(ascii: "\"")
        let backslash = UInt8(ascii: "\\")
        let extra = self[start...].count { $0 == quote || $0 == backslash }
        guard extra > 0 else { return }
        var source = count
        append(contentsOf: repeatElement(0, count: extra))
        var target = count
        // From the end, so that nothing is overwritten before it is moved.
        while source > start {
            source -= 1
            target -= 1
            self[target] = self[source]
            if self[source] == quote || self[source] == backslash {
                target -= 1
                self[target] = backslash
            }
        }
    }

    private static func hexDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? UInt8(ascii: "0") + value : UInt8(ascii: "a") + value - 10
    }
}
