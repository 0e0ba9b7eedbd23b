public import FoundationEssentials
import TandemCore

extension PostgresNumeric {
    /// A value from a Foundation `Decimal`, with all its digits.
    ///
    /// - Parameter decimal: The decimal.
    public init(_ decimal: Decimal) {
        // A Decimal prints all its digits, without an exponent.
        self = decimal.isNaN ? .nan : Self(decimal.description) ?? .nan
    }

    /// The value as a Foundation `Decimal`.
    ///
    /// - Returns: The decimal with the same value; its scale is not kept.
    /// - Throws: `TandemError` with the code `decodingFailed` where a decimal, which has 38 digits, cannot hold all digits, and for infinity.
    public func decimal() throws -> Decimal {
        guard let decimal = exactDecimal else {
            throw TandemError(.decodingFailed, "the numeric has digits that Decimal cannot hold", nextStep: "keep it as PostgresNumeric")
        }
        return decimal
    }

    /// The value as a Foundation `Decimal`, or nil where digits would be lost.
    var exactDecimal: Decimal? {
        guard isFinite else { return isNaN ? .nan : nil }
        guard let last = digits.last else { return .zero }
        // The digits as one integer, and the power of ten that they are multiplied with.
        var exponent = (weight - digits.count + 1) * 4
        var mantissa: UInt128 = 0
        for digit in digits.dropLast() {
            guard let next = mantissa.timesTenThousand(plus: digit) else { return nil }
            mantissa = next
        }
        // The last digits without their zeros, which alone may be what makes it too long.
        var rest = last
        var factor: UInt128 = 10_000
        while rest % 10 == 0 {
            rest /= 10
            factor /= 10
            exponent += 1
        }
        let (product, overflow) = mantissa.multipliedReportingOverflow(by: factor)
        let (sum, overflowToo) = product.addingReportingOverflow(UInt128(rest))
        guard !overflow, !overflowToo else { return nil }
        mantissa = sum
        // A Decimal's exponent has eight bits.
        guard (-128...127).contains(exponent) else { return nil }
        let high = Decimal(UInt64(truncatingIfNeeded: mantissa >> 64))
        let low = Decimal(UInt64(truncatingIfNeeded: mantissa))
        let significand = high * Self.twoToThe64 + low
        let decimal = Decimal(sign: kind == .negative ? .minus : .plus, exponent: exponent, significand: significand)
        // Foundation rounds in silence: only what comes back the same was not rounded.
        return PostgresNumeric(decimal) == self ? decimal : nil
    }

    private static let twoToThe64 = Decimal(UInt64.max) + 1
}

extension Decimal: PostgresEncodable, PostgresDecodable {
    /// Writes all digits.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) { PostgresNumeric(self).encode(into: &encoder) }

    /// Reads a `numeric`, or an integer of any width.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The value.
    /// - Throws: An error where it is none, or where a decimal cannot hold all its digits: read it as ``PostgresNumeric``.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> Decimal {
        let numeric = try PostgresNumeric.decode(bytes, type: type, format: format)
        guard let decimal = numeric.exactDecimal else { throw PostgresDecodingError(Decimal.self, type, .losesDigits) }
        return decimal
    }
}

extension UInt128 {
    fileprivate func timesTenThousand(plus digit: UInt16) -> UInt128? {
        let (product, overflow) = multipliedReportingOverflow(by: 10_000)
        let (sum, overflowToo) = product.addingReportingOverflow(UInt128(digit))
        return overflow || overflowToo ? nil : sum
    }
}
