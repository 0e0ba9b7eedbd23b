/// The identity of one global transaction, on every node, in every log line and on every command line.
///
/// It is a UUID of version 7 (RFC 9562): its first 48 bits are the time it was made, so ids sort by age, rows are partitioned by id, and
/// the horizon behind which rows are forgotten is an id. Pass your own to make a retry of a request unable to run twice:
///
/// ```swift
/// let id = TransactionID("018f3e2a-7c4b-7d11-9a52-0123456789ab")
/// ```
public struct TransactionID: Hashable, Sendable, Comparable, Codable, LosslessStringConvertible {
    /// The first eight bytes, most significant first.
    package let high: UInt64
    /// The last eight bytes, most significant first.
    package let low: UInt64

    /// The id of these sixteen bytes, whatever their version is.
    ///
    /// - Parameters:
    ///   - high: The first eight bytes, most significant first.
    ///   - low: The last eight bytes.
    package init(high: UInt64, low: UInt64) {
        self.high = high
        self.low = low
    }

    /// Makes an id of version 7 out of a time and random bits, which are arguments because this module knows neither a clock nor chance.
    ///
    /// - Parameters:
    ///   - milliseconds: Milliseconds since 1970-01-01 UTC; the lower 48 bits count.
    ///   - random: 128 random bits, of which 74 are used.
    /// - Returns: An id with the version and variant bits of RFC 9562.
    public static func make(milliseconds: UInt64, random: (UInt64, UInt64)) -> TransactionID {
        TransactionID(
            high: milliseconds << 16 | 0x7000 | random.0 & 0x0FFF,
            low: 0x8000_0000_0000_0000 | random.1 & 0x3FFF_FFFF_FFFF_FFFF
        )
    }

    /// Makes the id of work that no register records: the same, with version 8, so that nobody ever asks the register what became of it. A row that
    /// is missing there would say "rolled back" of work that may have committed.
    ///
    /// - Parameters:
    ///   - milliseconds: Milliseconds since 1970-01-01 UTC; the lower 48 bits count.
    ///   - random: 128 random bits, of which 74 are used.
    /// - Returns: An id with the version and variant bits of RFC 9562.
    package static func makeUnrecorded(milliseconds: UInt64, random: (UInt64, UInt64)) -> TransactionID {
        let id = make(milliseconds: milliseconds, random: random)
        return TransactionID(high: id.high & ~0xF000 | 0x8000, low: id.low)
    }

    /// Whether a register may know the transaction.
    package var isRecorded: Bool { high >> 12 & 0xF != 8 }

    /// When the id was made, in milliseconds since 1970-01-01 UTC, by the clock of the process that made it.
    public var milliseconds: UInt64 { high >> 16 }

    /// Reads the ordinary text form of a UUID.
    ///
    /// - Parameter text: 36 bytes, hexadecimal digits of either case with hyphens after 8, 12, 16 and 20 digits; the result is nil for any
    ///   other text, also for the other forms that PostgreSQL reads (braces, no hyphens).
    public init?(_ text: String) {
        self.init(utf8: text.utf8)
    }

    init?(utf8 text: some Collection<UInt8>) {
        guard text.count == 36 else { return nil }
        var value: (high: UInt64, low: UInt64) = (0, 0)
        for (index, byte) in text.enumerated() {
            if index == 8 || index == 13 || index == 18 || index == 23 {
                guard byte == UInt8(ascii: "-") else { return nil }
                continue
            }
            guard let digit = Self.digit(byte) else { return nil }
            value.high = value.high << 4 | value.low >> 60
            value.low = value.low << 4 | digit
        }
        self.init(high: value.high, low: value.low)
    }

    private static func digit(_ byte: UInt8) -> UInt64? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte - UInt8(ascii: "0"))
        case UInt8(ascii: "a")...UInt8(ascii: "f"): UInt64(byte - UInt8(ascii: "a")) + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): UInt64(byte - UInt8(ascii: "A")) + 10
        default: nil
        }
    }

    /// The ordinary text form: 36 bytes, lower case.
    public var description: String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(36)
        appendText(to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Appends the ordinary text form.
    func appendText(to bytes: inout [UInt8]) {
        for position in 0..<32 {
            if position == 8 || position == 12 || position == 16 || position == 20 { bytes.append(UInt8(ascii: "-")) }
            let half = position < 16 ? high : low
            let digit = UInt8(truncatingIfNeeded: half >> UInt64((15 - position % 16) * 4)) & 0xF
            bytes.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
        }
    }

    /// Reads an id from its text, and fails with `DecodingError.dataCorrupted` where it is not one.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let id = TransactionID(try container.decode(String.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a UUID of 36 characters")
        }
        self = id
    }

    /// Writes the id as its text.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }

    /// The order of the bytes, which is PostgreSQL's order of `uuid`: the horizon compares in SQL and here and must mean the same.
    public static func < (lhs: TransactionID, rhs: TransactionID) -> Bool {
        (lhs.high, lhs.low) < (rhs.high, rhs.low)
    }
}
