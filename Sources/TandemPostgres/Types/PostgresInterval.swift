/// An `interval`: months, days and microseconds, which the server keeps apart since neither months nor days have one length.
///
/// Two intervals are equal where all three are; the server's `=` takes 30 days for a month.
///
/// ```swift
/// let pause = PostgresInterval(days: 1, microseconds: 3_600_000_000)   // 1 day 01:00:00
/// ```
public struct PostgresInterval: Hashable, Sendable, Codable, LosslessStringConvertible {
    /// Months, with twelve for each year.
    public var months: Int32
    /// Days.
    public var days: Int32
    /// Hours, minutes and seconds, in microseconds.
    public var microseconds: Int64

    /// An interval.
    ///
    /// - Parameters:
    ///   - months: Months, with twelve for each year.
    ///   - days: Days.
    ///   - microseconds: Hours, minutes and seconds, in microseconds.
    public init(months: Int32 = 0, days: Int32 = 0, microseconds: Int64 = 0) {
        self.months = months
        self.days = days
        self.microseconds = microseconds
    }

    /// Longer than all others; from PostgreSQL 17 on.
    public static let infinity = Self(months: .max, days: .max, microseconds: .max)
    /// Shorter than all others; from PostgreSQL 17 on.
    public static let negativeInfinity = Self(months: .min, days: .min, microseconds: .min)

    /// An interval from its text, in the styles `postgres` (`1 year 2 mons -3 days 04:05:06.5`) or `iso_8601` (`P1Y2M-3DT4H5M6.5S`).
    ///
    /// It is nil where it is no such text.
    ///
    /// - Parameter description: The text.
    public init?(_ description: String) {
        var text = description
        guard let value = text.withUTF8({ Self.parse(UnsafeRawBufferPointer($0)) }) else { return nil }
        self = value
    }

    /// The server's text form in the style `postgres`, such as `1 year 2 mons -3 days +04:05:06.5`.
    public var description: String {
        var text: [UInt8] = []
        append(to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// Reads the text form.
    ///
    /// - Parameter decoder: Where the text comes from.
    /// - Throws: An error where it is no interval.
    public init(from decoder: any Decoder) throws { self = try decodeDescription(from: decoder) }

    /// Writes the text form.
    ///
    /// - Parameter encoder: Where the text goes.
    /// - Throws: What the encoder throws.
    public func encode(to encoder: any Encoder) throws { try encodeDescription(of: self, to: encoder) }
}

extension PostgresInterval: PostgresEncodable, PostgresDecodable {
    /// Writes the three numbers with their units.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) {
        encoder.encode(isPlain: false) { text in
            if self == .infinity { return text.append(contentsOf: "infinity".utf8) }
            if self == .negativeInfinity { return text.append(contentsOf: "-infinity".utf8) }
            // Not the form that the server writes: it does not read its own least number of hours.
            text.appendDecimal(months)
            text.append(contentsOf: " mons ".utf8)
            text.appendDecimal(days)
            text.append(contentsOf: " days ".utf8)
            text.appendDecimal(microseconds)
            text.append(contentsOf: " us".utf8)
        }
    }

    /// Reads an `interval`, in the styles `postgres` or `iso_8601` where it is text.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The value.
    /// - Throws: An error where it is none.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> PostgresInterval {
        try decodeForm(PostgresInterval.self, bytes, type, isAccepted: type == .interval, format: format) {
            parse($0)
        } binary: { binary in
            var reader = BinaryReader(binary)
            guard let microseconds = reader.read(Int64.self), let days = reader.read(Int32.self), let months = reader.read(Int32.self),
                reader.remaining == 0
            else { return nil }
            return PostgresInterval(months: months, days: days, microseconds: microseconds)
        }
    }

    /// Appends the style `postgres` as the server writes it: a part after a negative one has a sign.
    private func append(to text: inout [UInt8]) {
        if self == .infinity { return text.append(contentsOf: "infinity".utf8) }
        if self == .negativeInfinity { return text.append(contentsOf: "-infinity".utf8) }
        var isAfterNegative = false
        func part(_ value: Int32, _ one: StaticString, _ many: StaticString) {
            guard value != 0 else { return }
            if !text.isEmpty { text.append(UInt8(ascii: " ")) }
            if isAfterNegative, value > 0 { text.append(UInt8(ascii: "+")) }
            text.appendDecimal(value)
            (value == 1 ? one : many).withUTF8Buffer { text.append(contentsOf: $0) }
            isAfterNegative = value < 0
        }
        part(months / 12, " year", " years")
        part(months % 12, " mon", " mons")
        part(days, " day", " days")
        guard microseconds != 0 || text.isEmpty else { return }
        if !text.isEmpty { text.append(UInt8(ascii: " ")) }
        if microseconds < 0 {
            text.append(UInt8(ascii: "-"))
        } else if isAfterNegative {
            text.append(UInt8(ascii: "+"))
        }
        let magnitude = microseconds.magnitude
        text.appendDecimal(magnitude / 3_600_000_000, width: 2)
        text.append(UInt8(ascii: ":"))
        text.appendDecimal(magnitude / 60_000_000 % 60, width: 2)
        text.append(UInt8(ascii: ":"))
        text.appendDecimal(magnitude / 1_000_000 % 60, width: 2)
        guard magnitude % 1_000_000 != 0 else { return }
        text.append(UInt8(ascii: "."))
        text.appendDecimal(magnitude % 1_000_000, width: 6)
        while text.last == UInt8(ascii: "0") { text.removeLast() }
    }

    private static func parse(_ text: UnsafeRawBufferPointer) -> PostgresInterval? {
        var reader = TextReader(text)
        if reader.take("infinity") { return reader.isAtEnd ? .infinity : nil }
        if reader.take("-infinity") { return reader.isAtEnd ? .negativeInfinity : nil }
        var sum = IntervalSum()
        let isWellFormed = reader.next == UInt8(ascii: "P") ? reader.isoInterval(into: &sum) : reader.postgresInterval(into: &sum)
        guard isWellFormed, reader.isAtEnd else { return nil }
        return sum.interval
    }
}

/// The parts of an interval while it is read, wide enough for any number of them.
private struct IntervalSum {
    var months: Int128 = 0
    var days: Int128 = 0
    var microseconds: Int128 = 0

    var interval: PostgresInterval? {
        guard let months = Int32(exactly: months), let days = Int32(exactly: days), let microseconds = Int64(exactly: microseconds) else {
            return nil
        }
        return PostgresInterval(months: months, days: days, microseconds: microseconds)
    }
}

extension TextReader {
    /// Takes an unsigned number; the least `Int64` has a magnitude beyond the greatest, so it is wider.
    private mutating func wideDigits() -> Int128? {
        let start = position
        var value: Int128 = 0
        while let byte = next, byte &- UInt8(ascii: "0") < 10, position - start < 20 {
            value = value * 10 + Int128(byte &- UInt8(ascii: "0"))
            position += 1
        }
        return position > start ? value : nil
    }

    /// Takes parts such as `1 year`, `-2 mons`, `+3 days`, `-04:05:06.5` or `7 us` with a space between them.
    fileprivate mutating func postgresInterval(into sum: inout IntervalSum) -> Bool {
        repeat {
            let sign = Int128(sign())
            guard let value = wideDigits() else { return false }
            if take(":") {
                guard let minutes = digits(2...2), minutes < 60, take(":"), let seconds = digits(2...2), seconds < 60,
                    let fraction = fraction()
                else { return false }
                sum.microseconds += sign * ((value * 3600 + Int128(minutes * 60 + seconds)) * 1_000_000 + Int128(fraction))
            } else if take(" year") {
                sum.months += sign * value * 12
                _ = take("s")
            } else if take(" mon") {
                sum.months += sign * value
                _ = take("s")
            } else if take(" day") {
                sum.days += sign * value
                _ = take("s")
            } else if take(" us") {
                sum.microseconds += sign * value
            } else {
                return false
            }
        } while take(" ")
        return true
    }

    /// Takes `P1Y2M-3DT4H5M6.5S`, of which any part may be missing, but not all.
    fileprivate mutating func isoInterval(into sum: inout IntervalSum) -> Bool {
        guard take("P"), !isAtEnd else { return false }
        var isTime = false
        while !isAtEnd {
            if !isTime, take("T") {
                isTime = true
                guard !isAtEnd else { return false }
            }
            let sign = Int128(sign())
            guard let value = wideDigits(), let fraction = fraction() else { return false }
            if isTime, take("S") {
                sum.microseconds += sign * (value * 1_000_000 + Int128(fraction))
                continue
            }
            guard fraction == 0 else { return false }
            if isTime, take("H") {
                sum.microseconds += sign * value * 3_600_000_000
            } else if isTime, take("M") {
                sum.microseconds += sign * value * 60_000_000
            } else if !isTime, take("Y") {
                sum.months += sign * value * 12
            } else if !isTime, take("M") {
                sum.months += sign * value
            } else if !isTime, take("W") {
                sum.days += sign * value * 7
            } else if !isTime, take("D") {
                sum.days += sign * value
            } else {
                return false
            }
        }
        return true
    }
}
