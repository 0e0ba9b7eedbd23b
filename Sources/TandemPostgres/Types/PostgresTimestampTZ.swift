public import FoundationEssentials

/// A `timestamp with time zone`: an instant, to the microsecond, or one of the two infinities.
///
/// The server stores no zone; which offset its text form has depends on the session, and the instant does not. Foundation's `Date` is read
/// from and bound to the same type where its precision is enough.
public struct PostgresTimestampTZ: Hashable, Sendable, Comparable, Codable, LosslessStringConvertible {
    /// Microseconds since 2000-01-01 00:00:00 UTC; the least and the greatest number are the infinities.
    public let microseconds: Int64

    /// An instant by its number.
    ///
    /// - Parameter microseconds: Microseconds since 2000-01-01 00:00:00 UTC; the least and the greatest `Int64` are the infinities.
    public init(microseconds: Int64) { self.microseconds = microseconds }

    /// After all instants.
    public static let infinity = Self(microseconds: .max)
    /// Before all instants.
    public static let negativeInfinity = Self(microseconds: .min)

    /// An instant from its text, such as `2026-01-31 12:34:56.789+01`, with any offset, or `infinity`.
    ///
    /// It is nil where it is no such text.
    ///
    /// - Parameter description: The text.
    public init?(_ description: String) {
        var text = description
        guard let value = text.withUTF8({ Self.parse(UnsafeRawBufferPointer($0)) }) else { return nil }
        self = value
    }

    /// The instant of a Foundation date, rounded to the microsecond.
    ///
    /// It is nil where it is too far away, or no number.
    ///
    /// - Parameter date: The date.
    public init?(_ date: Date) {
        let seconds = date.timeIntervalSinceReferenceDate
        // The whole seconds apart from their fraction, so that the product rounds once.
        let whole = seconds.rounded(.down)
        guard let whole = Int64(exactly: whole), abs(whole) < 10_000_000_000_000 else { return nil }
        let fraction = Int64(((seconds - Double(whole)) * 1_000_000).rounded())
        let (product, overflow) = (whole + Self.referenceDate).multipliedReportingOverflow(by: 1_000_000)
        let (sum, overflowToo) = product.addingReportingOverflow(fraction)
        guard !overflow, !overflowToo, sum != .max, sum != .min else { return nil }
        microseconds = sum
    }

    /// The instant as a Foundation date, which is exact to the microsecond for some 270 years around 2001; nil for an infinity.
    public var date: Date? {
        guard isFinite else { return nil }
        let whole = microseconds.flooredQuotient(1_000_000)
        let fraction = microseconds - whole * 1_000_000
        return Date(timeIntervalSinceReferenceDate: Double(whole - Self.referenceDate) + Double(fraction) / 1_000_000)
    }

    /// Seconds from 2000-01-01 to Foundation's reference date, 2001-01-01.
    private static let referenceDate: Int64 = 366 * 86_400

    /// Whether it is an instant and not an infinity.
    public var isFinite: Bool { microseconds != .max && microseconds != .min }

    /// The server's text form in UTC, such as `2026-01-31 12:34:56.789+00`.
    public var description: String {
        var text: [UInt8] = []
        TimestampForm.append(microseconds, zone: "+00", to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// The order of time.
    ///
    /// - Parameters:
    ///   - left: One instant.
    ///   - right: Another.
    /// - Returns: Whether the left one is earlier.
    public static func < (left: Self, right: Self) -> Bool { left.microseconds < right.microseconds }

    /// Reads the text form.
    ///
    /// - Parameter decoder: Where the text comes from.
    /// - Throws: An error where it is no instant.
    public init(from decoder: any Decoder) throws { self = try decodeDescription(from: decoder) }

    /// Writes the text form.
    ///
    /// - Parameter encoder: Where the text goes.
    /// - Throws: What the encoder throws.
    public func encode(to encoder: any Encoder) throws { try encodeDescription(of: self, to: encoder) }
}

extension PostgresTimestampTZ: PostgresEncodable, PostgresDecodable {
    /// Writes the text form in UTC.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) {
        encoder.encode(isPlain: false) { TimestampForm.append(microseconds, zone: "+00", to: &$0) }
    }

    /// Reads a `timestamp with time zone`.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The value.
    /// - Throws: An error where it is none; a timestamp without time zone is refused, since it is no instant.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> PostgresTimestampTZ {
        try decodeForm(PostgresTimestampTZ.self, bytes, type, isAccepted: type == .timestamptz, format: format) {
            parse($0)
        } binary: {
            BinaryReader.whole($0, Int64.self).map { PostgresTimestampTZ(microseconds: $0) }
        }
    }

    private static func parse(_ text: UnsafeRawBufferPointer) -> PostgresTimestampTZ? {
        TimestampForm.parse(text, hasZone: true).map { PostgresTimestampTZ(microseconds: $0) }
    }
}

extension Date: PostgresEncodable, PostgresDecodable {
    /// Writes the instant in UTC, rounded to the microsecond.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) {
        guard let instant = PostgresTimestampTZ(self) else {
            return encoder.fail("the date is too far away for a timestamp with time zone")
        }
        instant.encode(into: &encoder)
    }

    /// Reads a `timestamp with time zone`.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The instant, exact to the microsecond for some 270 years around 2001.
    /// - Throws: An error where it is none, or an infinity: read it as ``PostgresTimestampTZ``.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> Date {
        guard type == .timestamptz || type == .unspecified else { throw PostgresDecodingError(Date.self, type, .typeMismatch) }
        guard let date = try PostgresTimestampTZ.decode(bytes, type: type, format: format).date else {
            throw PostgresDecodingError(Date.self, type, .refused("an infinity is no Date; read it as PostgresTimestampTZ"))
        }
        return date
    }
}
