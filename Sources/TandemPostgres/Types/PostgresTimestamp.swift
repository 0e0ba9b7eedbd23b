/// A `timestamp without time zone`: a day and a time as a clock on some wall shows them, or one of the two infinities.
///
/// It is no instant; for those there is ``PostgresTimestampTZ``, and Foundation's `Date`.
public struct PostgresTimestamp: Hashable, Sendable, Comparable, Codable, LosslessStringConvertible {
    /// Microseconds since 2000-01-01 00:00:00; the least and the greatest number are the infinities.
    public let microseconds: Int64

    /// A timestamp by its number.
    ///
    /// - Parameter microseconds: Microseconds since 2000-01-01 00:00:00; the least and the greatest `Int64` are the infinities.
    public init(microseconds: Int64) { self.microseconds = microseconds }

    /// After all others.
    public static let infinity = Self(microseconds: .max)
    /// Before all others.
    public static let negativeInfinity = Self(microseconds: .min)

    /// A timestamp from its text, such as `2026-01-31 12:34:56.789`, `0044-03-15 12:00:00 BC` or `infinity`.
    ///
    /// It is nil where it is no such text.
    ///
    /// - Parameter description: The text.
    public init?(_ description: String) {
        var text = description
        guard let value = text.withUTF8({ Self.parse(UnsafeRawBufferPointer($0)) }) else { return nil }
        self = value
    }

    /// Whether it is not an infinity.
    public var isFinite: Bool { microseconds != .max && microseconds != .min }

    /// The server's text form, such as `2026-01-31 12:34:56.789`.
    public var description: String {
        var text: [UInt8] = []
        TimestampForm.append(microseconds, zone: "", to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    /// The order of time.
    ///
    /// - Parameters:
    ///   - left: One timestamp.
    ///   - right: Another.
    /// - Returns: Whether the left one is earlier.
    public static func < (left: Self, right: Self) -> Bool { left.microseconds < right.microseconds }

    /// Reads the text form.
    ///
    /// - Parameter decoder: Where the text comes from.
    /// - Throws: An error where it is no timestamp.
    public init(from decoder: any Decoder) throws { self = try decodeDescription(from: decoder) }

    /// Writes the text form.
    ///
    /// - Parameter encoder: Where the text goes.
    /// - Throws: What the encoder throws.
    public func encode(to encoder: any Encoder) throws { try encodeDescription(of: self, to: encoder) }
}

extension PostgresTimestamp: PostgresEncodable, PostgresDecodable {
    /// Writes the text form.
    ///
    /// - Parameter encoder: Where the value goes.
    public func encode(into encoder: inout PostgresEncoder) {
        encoder.encode(isPlain: false) { TimestampForm.append(microseconds, zone: "", to: &$0) }
    }

    /// Reads a `timestamp without time zone`.
    ///
    /// - Parameters:
    ///   - bytes: The bytes as the server sent them.
    ///   - type: The column's type.
    ///   - format: How the bytes are written.
    /// - Returns: The value.
    /// - Throws: An error where it is none; a timestamp with time zone is refused, since it would need a zone.
    public static func decode(_ bytes: RawSpan, type: PostgresType, format: PostgresFormat) throws -> PostgresTimestamp {
        try decodeForm(PostgresTimestamp.self, bytes, type, isAccepted: type == .timestamp, format: format) {
            parse($0)
        } binary: {
            BinaryReader.whole($0, Int64.self).map { PostgresTimestamp(microseconds: $0) }
        }
    }

    private static func parse(_ text: UnsafeRawBufferPointer) -> PostgresTimestamp? {
        TimestampForm.parse(text, hasZone: false).map { PostgresTimestamp(microseconds: $0) }
    }
}
