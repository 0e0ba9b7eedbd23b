import FoundationEssentials
import TandemPostgres
import Testing

/// Random values of each type, from all of its range, with what is special about it among them.
enum RandomValues {
    static func pick<Value>(_ values: [Value], _ random: inout Seeded) -> Value { values[Int.random(in: values.indices, using: &random)] }

    static func int8(_ random: inout Seeded) -> Int64 {
        // Shifted, so that short numbers are as likely as long ones.
        Int64(bitPattern: random.next()) >> Int64.random(in: 0..<64, using: &random)
    }

    static func float8(_ random: inout Seeded) -> Double {
        // Bit patterns reach the extremes, numbers with few digits are what people write.
        if Bool.random(using: &random) { return Double(int8(&random) % 10_000_000) / pick([1, 10, 100, 1000], &random) }
        let value = Double(bitPattern: random.next())
        return value.isNaN ? pick([0.0, -0.0, .infinity, -.infinity], &random) : value
    }

    static func float4(_ random: inout Seeded) -> Float {
        if Bool.random(using: &random) { return Float(int8(&random) % 100_000) / pick([1, 10, 100], &random) }
        let value = Float(bitPattern: UInt32(truncatingIfNeeded: random.next()))
        return value.isNaN ? pick([0.0, -0.0, .infinity, -.infinity], &random) : value
    }

    static func numeric(_ random: inout Seeded) throws -> PostgresNumeric {
        if Int.random(in: 0..<50, using: &random) == 0 { return pick([.nan, .infinity, .negativeInfinity], &random) }
        func digits(_ counts: ClosedRange<Int>) -> String {
            (0..<Int.random(in: counts, using: &random)).map { _ in "\(Int.random(in: 0...9, using: &random))" }.joined()
        }
        let integer = digits(1...40), fraction = digits(0...40)
        return try #require(PostgresNumeric((Bool.random(using: &random) ? "-" : "") + integer + (fraction.isEmpty ? "" : "." + fraction)))
    }

    static func decimal(_ random: inout Seeded) -> Decimal {
        Decimal(int8(&random)) / pick([1, 10, 1000, 1_000_000], &random)
    }

    static func text(_ random: inout Seeded) -> String {
        let scalars = (0..<Int.random(in: 0...20, using: &random)).compactMap { _ in Unicode.Scalar(UInt32.random(in: 1...0x10ffff, using: &random)) }
        return String(String.UnicodeScalarView(scalars))
    }

    /// Text of the signs that mean something in an array.
    static func difficultText(_ random: inout Seeded) -> String {
        let alphabet: [Character] = ["a", "\"", "\\", ",", "{", "}", " ", "N", "U", "L", "\n", "é", "😀", "'", "[", "=", ";", "(", ")", "\u{301}"]
        return String((0..<Int.random(in: 0...8, using: &random)).compactMap { _ in alphabet.randomElement(using: &random) })
    }

    static func bytes(_ random: inout Seeded) -> [UInt8] {
        (0..<Int.random(in: 0...40, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
    }

    static func uuid(_ random: inout Seeded) -> UUID {
        let (high, low) = (random.next(), random.next())
        return withUnsafeBytes(of: (high, low)) { UUID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
    }

    static func date(_ random: inout Seeded) -> PostgresDate {
        switch Int.random(in: 0..<40, using: &random) {
        case 0: pick([.infinity, .negativeInfinity], &random)
        case 1..<20: PostgresDate(days: .random(in: -2_451_545...2_145_031_948, using: &random))
        default: PostgresDate(days: .random(in: -900_000...900_000, using: &random))
        }
    }

    static func microseconds(_ random: inout Seeded) -> Int64 {
        switch Int.random(in: 0..<40, using: &random) {
        case 0: pick([.max, .min], &random)
        case 1..<20: .random(in: -211_813_488_000_000_000...9_223_371_331_199_999_999, using: &random)
        // From 40 before to 1960 after Christ and on.
        default: .random(in: -64_000_000_000_000_000...64_000_000_000_000_000, using: &random)
        }
    }

    /// An instant that Foundation's `Date` holds to the microsecond: 1740 to 2260.
    static func instant(_ random: inout Seeded) throws -> Date {
        try #require(PostgresTimestampTZ(microseconds: .random(in: -8_200_000_000_000_000...8_200_000_000_000_000, using: &random)).date)
    }

    static func interval(_ random: inout Seeded) -> PostgresInterval {
        PostgresInterval(
            months: .random(in: .min ... .max, using: &random), days: .random(in: .min ... .max, using: &random), microseconds: int8(&random))
    }

    static func texts(_ random: inout Seeded) -> [String?] {
        (0..<Int.random(in: 0...6, using: &random)).map { _ in Int.random(in: 0..<5, using: &random) > 0 ? difficultText(&random) : nil }
    }

    /// Integers and NULLs in up to six dimensions with any lower bounds.
    static func array(_ random: inout Seeded) throws -> PostgresArray<Int64?> {
        let dimensions = (0..<Int.random(in: 1...6, using: &random)).map { _ in
            PostgresArrayDimension(lowerBound: .random(in: -3...3, using: &random), count: .random(in: 1...2, using: &random))
        }
        let elements = (0..<dimensions.reduce(1) { $0 * $1.count }).map { _ in Bool.random(using: &random) ? int8(&random) : nil }
        return try #require(PostgresArray(elements, dimensions: dimensions))
    }
}
