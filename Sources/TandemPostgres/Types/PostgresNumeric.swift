/// A `numeric` with all its digits.
///
/// It keeps the display scale, so that 1.10 stays 1.10, and has the server's three values that are no numbers: `NaN`, `Infinity` and
/// `-Infinity`. Two values are equal where the server says so: 1.1 equals 1.10, and `NaN` equals itself and comes after all others.
///
/// ```swift
/// let price: PostgresNumeric = "19.90"
/// let rows = try await branch.query("SELECT sum(price) FROM items WHERE price > \(price)", as: PostgresNumeric.self)
/// let total = try rows[0].decimal()
/// ```
///
/// For arithmetic, convert it with ``decimal()``, which throws where a `Decimal` cannot hold all digits, or let the server calculate.
public struct PostgresNumeric: Sendable, LosslessStringConvertible {
    /// Which kind of value it is.
    enum Kind: Sendable, Hashable {
        case positive, negative, notANumber, positiveInfinity, negativeInfinity
    }

    /// As the server stores it: the value is the sum of `digits[i] * 10000 ^ (weight - i)`.
    let kind: Kind
    /// Digits to the base of 10,000, without zeros at either end; none for zero.
    let digits: [UInt16]
    let weight: Int
    /// How many decimal digits are shown after the point.
    public let scale: Int

    /// The greatest scale that the server knows.
    static let maximumScale = 16_383
    /// The greatest weight: 131,072 digits before the point.
    static let maximumWeight = 32_767

    /// A finite value; zeros at either end are taken away.
    init(isNegative: Bool, digits: [UInt16], weight: Int, scale: Int) {
        let first = digits.firstIndex { $0 != 0 }
        let last = digits.lastIndex { $0 != 0 }
        if let first, let last {
            kind = isNegative ? .negative : .positive
            self.digits = last - first + 1 == digits.count ? digits : Array(digits[first...last])
            self.weight = weight - first
        } else {
            kind = .positive
            self.digits = []
            self.weight = 0
        }
        self.scale = scale
    }

    private init(_ kind: Kind) {
        self.kind = kind
        digits = []
        weight = 0
        scale = 0
    }

    /// `NaN`
    public static let nan = Self(.notANumber)
    /// `Infinity`
    public static let infinity = Self(.positiveInfinity)
    /// `-Infinity`
    public static let negativeInfinity = Self(.negativeInfinity)

    /// A value from its text: digits with an optional sign, point and exponent, or `NaN`, `Infinity` or `-Infinity`.
    ///
    /// It is nil where it is no such text, or where the server could not hold the value.
    ///
    /// - Parameter description: The text.
    public init?(_ description: String) {
        var text = description
        guard let value = text.withUTF8({ Self.parse(UnsafeRawBufferPointer($0)) }) else { return nil }
        self = value
    }

    /// An integer.
    ///
    /// - Parameter value: Any integer of at most 128 bits.
    public init(_ value: some FixedWidthInteger) {
        var digits: [UInt16] = []
        var rest = value.magnitude
        while rest > 0 {
            // Eight bits cannot hold the base; such a rest is a digit itself.
            let (quotient, digit) = rest.bitWidth > 8 ? rest.quotientAndRemainder(dividingBy: 10_000) : (0, rest)
            digits.append(UInt16(digit))
            rest = quotient
        }
        self.init(isNegative: value < 0, digits: digits.reversed(), weight: digits.count - 1, scale: 0)
    }

    /// Whether it is a number, and not `NaN` or an infinity.
    public var isFinite: Bool { kind == .positive || kind == .negative }

    /// Whether it is `NaN`.
    public var isNaN: Bool { kind == .notANumber }

    /// Whether it is a number without a fraction, whatever its scale: 2.00 is one.
    public var isInteger: Bool { isFinite && digits.count <= weight + 1 }

    /// The digits with as many after the point as the scale says, or `NaN`, `Infinity` or `-Infinity`.
    public var description: String {
        var text: [UInt8] = []
        append(to: &text)
        return String(decoding: text, as: UTF8.self)
    }
}

extension PostgresNumeric: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral {
    /// A value from a literal such as `"19.90"`; a literal that is no number stops the program.
    ///
    /// - Parameter value: The literal.
    public init(stringLiteral value: StaticString) {
        guard let numeric = Self(value.description) else { preconditionFailure("the literal is no numeric") }
        self = numeric
    }

    /// A value from an integer literal.
    ///
    /// - Parameter value: The literal.
    public init(integerLiteral value: Int) { self.init(value) }
}

extension PostgresNumeric: Hashable, Comparable {
    /// Whether the server says that they are equal: their scales do not matter, and `NaN` equals itself.
    ///
    /// - Parameters:
    ///   - left: One value.
    ///   - right: Another.
    /// - Returns: Whether they are equal.
    public static func == (left: Self, right: Self) -> Bool {
        left.kind == right.kind && left.weight == right.weight && left.digits == right.digits
    }

    /// Feeds what equality compares to a hasher.
    ///
    /// - Parameter hasher: The hasher.
    public func hash(into hasher: inout Hasher) {
        hasher.combine(kind)
        hasher.combine(weight)
        hasher.combine(digits)
    }

    /// The server's order, in which `NaN` comes after `Infinity`.
    ///
    /// - Parameters:
    ///   - left: One value.
    ///   - right: Another.
    /// - Returns: Whether the left one comes first.
    public static func < (left: Self, right: Self) -> Bool {
        guard left.rank == right.rank else { return left.rank < right.rank }
        switch left.kind {
        case .positive: return left.isSmaller(than: right)
        case .negative: return right.isSmaller(than: left)
        case .notANumber, .positiveInfinity, .negativeInfinity: return false
        }
    }

    private var rank: Int {
        switch kind {
        case .negativeInfinity: 0
        case .negative: 1
        case .positive: digits.isEmpty ? 2 : 3
        case .positiveInfinity: 4
        case .notANumber: 5
        }
    }

    /// Compares without regard to the sign; both are finite.
    private func isSmaller(than other: Self) -> Bool {
        weight == other.weight ? digits.lexicographicallyPrecedes(other.digits) : weight < other.weight
    }
}

extension PostgresNumeric: Codable {
    /// Reads the text form.
    ///
    /// - Parameter decoder: Where the text comes from.
    /// - Throws: An error where it is no numeric.
    public init(from decoder: any Decoder) throws { self = try decodeDescription(from: decoder) }

    /// Writes the text form, since a JSON number would lose digits in most readers.
    ///
    /// - Parameter encoder: Where the text goes.
    /// - Throws: What the encoder throws.
    public func encode(to encoder: any Encoder) throws { try encodeDescription(of: self, to: encoder) }
}

extension FixedWidthInteger {
    /// An integer from a `numeric` that is one.
    ///
    /// It is nil where it has a fraction, is no number, or does not fit.
    ///
    /// - Parameter value: The numeric.
    public init?(exactly value: PostgresNumeric) {
        guard value.isInteger else { return nil }
        guard Self.bitWidth > 32 else {
            // The base itself does not fit the narrow ones.
            guard let wide = Int64(exactly: value), let narrow = Self(exactly: wide) else { return nil }
            self = narrow
            return
        }
        var result: Self = 0
        for place in 0..<(value.digits.isEmpty ? 0 : value.weight + 1) {
            let step = Self(place < value.digits.count ? value.digits[place] : 0)
            let (product, overflow) = result.multipliedReportingOverflow(by: 10_000)
            // A negative number is built downwards, since the least one has no positive counterpart.
            let (sum, overflowToo) =
                value.kind == .negative ? product.subtractingReportingOverflow(step) : product.addingReportingOverflow(step)
            guard !overflow, !overflowToo else { return nil }
            result = sum
        }
        self = result
    }
}
