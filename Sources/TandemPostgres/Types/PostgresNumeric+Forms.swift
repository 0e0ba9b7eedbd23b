extension PostgresNumeric: PostgresEncodable, PostgresDecodable {
    /// Writes all digits.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) {
        encoder.encode(isPlain: true) { append(to: &$0) }
    }

    /// Reads a `numeric`, or an integer of any width.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The value with all its digits.
    /// - Throws: An error where it is none.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> PostgresNumeric {
        switch type {
        case .int2, .int4, .int8: PostgresNumeric(try Int64.decode(bytes, type: type, format: format))
        default:
            try decodeForm(PostgresNumeric.self, bytes, type, isAccepted: type == .numeric, format: format) {
                parse($0)
            } binary: {
                read($0)
            }
        }
    }

    /// Appends the text form.
    func append(to text: inout [UInt8]) {
        switch kind {
        case .notANumber: return text.append(contentsOf: "NaN".utf8)
        case .positiveInfinity: return text.append(contentsOf: "Infinity".utf8)
        case .negativeInfinity: return text.append(contentsOf: "-Infinity".utf8)
        case .negative: text.append(UInt8(ascii: "-"))
        case .positive: break
        }
        if weight < 0 || digits.isEmpty {
            text.append(UInt8(ascii: "0"))
        } else {
            for place in 0...weight { text.appendDecimal(digit(place), width: place == 0 ? 1 : 4) }
        }
        guard scale > 0 else { return }
        text.append(UInt8(ascii: "."))
        let end = text.count + scale
        var place = (digits.isEmpty ? 0 : weight) + 1
        while text.count < end {
            text.appendDecimal(digit(place), width: 4)
            place += 1
        }
        text.removeLast(text.count - end)
    }

    private func digit(_ place: Int) -> UInt16 { digits.indices.contains(place) ? digits[place] : 0 }

    /// Reads the text form.
    static func parse(_ text: UnsafeRawBufferPointer) -> PostgresNumeric? {
        var reader = TextReader(text)
        let isNegative = reader.take("-")
        if !isNegative { _ = reader.take("+") }
        if reader.take("Infinity") { return reader.isAtEnd ? (isNegative ? negativeInfinity : infinity) : nil }
        if reader.take("NaN") { return reader.isAtEnd && reader.position == 3 ? nan : nil }

        var decimals: [UInt8] = []
        decimals.reserveCapacity(text.count)
        reader.takeDigits(into: &decimals)
        let integerCount = decimals.count
        if reader.take(".") { reader.takeDigits(into: &decimals) }
        guard !decimals.isEmpty, let exponent = reader.exponent(), reader.isAtEnd else { return nil }
        return PostgresNumeric(isNegative: isNegative, decimals: decimals, point: integerCount + exponent)
    }

    /// A value from decimal digits.
    ///
    /// - Parameters:
    ///   - isNegative: Whether it is less than zero, unless all digits are zero.
    ///   - decimals: The digits, each 0 to 9.
    ///   - point: Before which of them the point stands; it may be outside of them.
    private init?(isNegative: Bool, decimals: [UInt8], point: Int) {
        let scale = max(0, decimals.count - point)
        guard scale <= Self.maximumScale else { return nil }
        guard let first = decimals.firstIndex(where: { $0 != 0 }), let last = decimals.lastIndex(where: { $0 != 0 }) else {
            self.init(isNegative: false, digits: [], weight: 0, scale: scale)
            return
        }
        // The digit at an index counts for 10 ^ (point - 1 - index), and four of them make one of ours, aligned at the point.
        let weight = Self.group(point - 1 - first)
        guard weight <= Self.maximumWeight else { return nil }
        var digits = [UInt16](repeating: 0, count: weight - Self.group(point - 1 - last) + 1)
        for index in first...last {
            let power = point - 1 - index
            let group = Self.group(power)
            let factor: [UInt16] = [1, 10, 100, 1000]
            digits[weight - group] += UInt16(decimals[index]) * factor[power - group * 4]
        }
        self.init(isNegative: isNegative, digits: digits, weight: weight, scale: scale)
    }

    /// The power of 10,000 that a power of ten belongs to: a quotient rounded down.
    private static func group(_ power: Int) -> Int { power >> 2 }

    /// Reads the binary form: counts, weight, sign and scale of two bytes each, then the digits.
    private static func read(_ bytes: UnsafeRawBufferPointer) -> PostgresNumeric? {
        var reader = BinaryReader(bytes)
        guard let count = reader.read(UInt16.self), let weight = reader.read(Int16.self), let sign = reader.read(UInt16.self),
            let scale = reader.read(UInt16.self), reader.remaining == Int(count) * 2, scale <= maximumScale
        else { return nil }
        switch sign {
        case 0xC000: return nan
        case 0xD000: return infinity
        case 0xF000: return negativeInfinity
        case 0x0000, 0x4000: break
        default: return nil
        }
        var digits: [UInt16] = []
        digits.reserveCapacity(Int(count))
        while let digit = reader.read(UInt16.self) {
            guard digit < 10_000 else { return nil }
            digits.append(digit)
        }
        let value = PostgresNumeric(isNegative: sign == 0x4000, digits: digits, weight: Int(weight), scale: Int(scale))
        // The server never sends digits beyond the scale; to show such a value would lose them.
        return value.scale >= value.significantScale ? value : nil
    }

    /// How many digits after the point are there before the last zeros.
    private var significantScale: Int {
        guard var last = digits.last else { return 0 }
        var scale = (digits.count - 1 - weight) * 4
        while last % 10 == 0 {
            last /= 10
            scale -= 1
        }
        return max(0, scale)
    }
}

extension TextReader {
    /// Appends the values of the digits that come next.
    fileprivate mutating func takeDigits(into decimals: inout [UInt8]) {
        while let byte = next, byte &- UInt8(ascii: "0") < 10 {
            decimals.append(byte - UInt8(ascii: "0"))
            position += 1
        }
    }

    /// Takes an exponent, if one comes next; nil where it is malformed or beyond anything that a numeric could have.
    fileprivate mutating func exponent() -> Int? {
        guard take("e") || take("E") else { return 0 }
        let sign = sign()
        guard let value = digits(1...18), value <= 1_000_000 else { return nil }
        return Int(sign * value)
    }
}
