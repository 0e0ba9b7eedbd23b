/// A `date`: a day of the calendar, without a time or a zone, or one of the two infinities.
///
/// ```swift
/// let day: PostgresDate? = PostgresDate(year: 2026, month: 1, day: 31)
/// ```
public struct PostgresDate: Hashable, Sendable, Comparable, Codable, LosslessStringConvertible {
    /// Days since 2000-01-01; the least and the greatest number are the infinities.
    public let days: Int32

    /// A day by its number.
    ///
    /// - Parameter days: Days since 2000-01-01; the least and the greatest `Int32` are the infinities.
    public init(days: Int32) { self.days = days }

    /// After all days.
    public static let infinity = Self(days: .max)
    /// Before all days.
    public static let negativeInfinity = Self(days: .min)

    /// A day of the Gregorian calendar, also of times before it was in use.
    ///
    /// It is nil where there is no such day.
    ///
    /// - Parameters:
    ///   - year: The year; -44 is 44 BC, as in `make_date`, and there is no year 0.
    ///   - month: 1 to 12.
    ///   - day: 1 to 31.
    public init?(year: Int, month: Int, day: Int) {
        guard year != 0, (-9_999_999...9_999_999).contains(year) else { return nil }
        let astronomical = Int64(year > 0 ? year : year + 1)
        guard ProlepticCalendar.isValid(year: astronomical, month: Int64(month), day: Int64(day)) else { return nil }
        let days = ProlepticCalendar.days(year: astronomical, month: Int64(month), day: Int64(day))
        guard let days = Int32(exactly: days), days != .max, days != .min else { return nil }
        self.days = days
    }

    /// A day from its text, such as `2026-01-31`, `0044-03-15 BC` or `infinity`.
    ///
    /// It is nil where it is no such text.
    ///
    /// - Parameter description: The text.
    public init?(_ description: String) {
        var text = description
        guard let value = text.withUTF8({ Self.parse(UnsafeRawBufferPointer($0)) }) else { return nil }
        self = value
    }

    /// Whether it is a day and not an infinity.
    public var isFinite: Bool { days != .max && days != .min }

    /// Year, month and day, with -44 for 44 BC; nil for an infinity.
    public var components: (year: Int, month: Int, day: Int)? {
        guard isFinite else { return nil }
        let (year, month, day) = ProlepticCalendar.components(of: Int64(days))
        return (Int(year > 0 ? year : year - 1), Int(month), Int(day))
    }

    /// The server's text form, such as `2026-01-31`.
    public var description: String {
        var text: [UInt8] = []
        append(to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// The order of time.
    ///
    /// - Parameters:
    ///   - left: One day.
    ///   - right: Another.
    /// - Returns: Whether the left one is earlier.
    public static func < (left: Self, right: Self) -> Bool { left.days < right.days }

    /// Reads the text form.
    ///
    /// - Parameter decoder: Where the text comes from.
    /// - Throws: An error where it is no date.
    public init(from decoder: any Decoder) throws { self = try decodeDescription(from: decoder) }

    /// Writes the text form.
    ///
    /// - Parameter encoder: Where the text goes.
    /// - Throws: What the encoder throws.
    public func encode(to encoder: any Encoder) throws { try encodeDescription(of: self, to: encoder) }
}

extension PostgresDate: PostgresEncodable, PostgresDecodable {
    /// Writes the text form.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) {
        encoder.encode(isPlain: false) { append(to: &$0) }
    }

    /// Reads a `date`.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The value.
    /// - Throws: An error where it is none.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> PostgresDate {
        try decodeForm(PostgresDate.self, bytes, type, isAccepted: type == .date, format: format) {
            parse($0)
        } binary: {
            BinaryReader.whole($0, Int32.self).map { PostgresDate(days: $0) }
        }
    }

    private func append(to text: inout [UInt8]) {
        switch self {
        case .infinity: text.append(contentsOf: "infinity".utf8)
        case .negativeInfinity: text.append(contentsOf: "-infinity".utf8)
        default:
            ProlepticCalendar.appendDate(Int64(days), to: &text)
            ProlepticCalendar.appendEra(of: Int64(days), to: &text)
        }
    }

    private static func parse(_ text: UnsafeRawBufferPointer) -> PostgresDate? {
        var reader = TextReader(text)
        if reader.take("infinity") { return reader.isAtEnd ? .infinity : nil }
        if reader.take("-infinity") { return reader.isAtEnd ? .negativeInfinity : nil }
        guard let date = reader.date(), let days = reader.days(of: date), reader.isAtEnd, let days = Int32(exactly: days) else {
            return nil
        }
        return PostgresDate(days: days)
    }
}
