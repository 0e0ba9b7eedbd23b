/// The number of a node: `tandem init` gives each node of a cluster the next free one, and it is never given again.
///
/// Gids hold the number, not the name, so that a node may be renamed and a gid has a bounded length.
public struct NodeID: RawRepresentable, Hashable, Comparable, Codable, Sendable, CustomStringConvertible {
    /// The number, 1 to 32767: what `tandem.node.node_id` (a `smallint`) holds.
    public let rawValue: Int16

    /// Checks a number that comes from outside.
    ///
    /// - Parameter rawValue: 1 to 32767; the result is nil for any other number.
    public init?(rawValue: Int16) {
        guard rawValue >= 1 else { return nil }
        self.rawValue = rawValue
    }

    /// Reads a number, and fails with `DecodingError.dataCorrupted` where it is not 1 to 32767.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        guard let id = NodeID(rawValue: try container.decode(Int16.self)) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "the id of a node is 1 to 32767")
        }
        self = id
    }

    /// Writes the number.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }

    /// Reads the form that stands in a gid.
    ///
    /// Only the one way of writing a number is read: no upper case and no leading zero. With two ways, a gid would not print back as it was
    /// read, and finishing it would name a branch that does not exist.
    ///
    /// - Parameter text: One to three base-32 digits `0-9a-v`; the result is nil for anything else.
    package init?(base32 text: some StringProtocol) {
        let digits = text.utf8
        guard (1...3).contains(digits.count), digits.first != UInt8(ascii: "0") else { return nil }
        var number: Int16 = 0
        for digit in digits {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): number = number * 32 + Int16(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "v"): number = number * 32 + Int16(digit - UInt8(ascii: "a")) + 10
            default: return nil
            }
        }
        self.init(rawValue: number)
    }

    /// The form that stands in a gid: base 32, digits `0-9a-v`, one to three of them.
    package var base32: String {
        var bytes: [UInt8] = []
        appendBase32(to: &bytes)
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Appends the form that stands in a gid.
    func appendBase32(to bytes: inout [UInt8]) {
        var shift = rawValue < 32 ? 0 : rawValue < 1024 ? 5 : 10
        while shift >= 0 {
            let digit = UInt8(rawValue >> shift & 31)
            bytes.append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") + digit - 10)
            shift -= 5
        }
    }

    /// The number in decimal, as an operator reads it in `tandem.node`.
    public var description: String { String(rawValue) }

    /// The order of the numbers: the one global order of nodes.
    public static func < (lhs: NodeID, rhs: NodeID) -> Bool { lhs.rawValue < rhs.rawValue }
}
