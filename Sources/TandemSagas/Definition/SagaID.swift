import TandemCore
import TandemTransactions

/// The identity of one saga: a UUID of version 7, so that ids sort by age.
public struct SagaID: Hashable, Sendable, Comparable, Codable, LosslessStringConvertible {
    private let value: TransactionID

    /// A new id.
    ///
    /// - Returns: one that nobody has had.
    public static func fresh() -> SagaID {
        SagaID(value: .fresh())
    }

    private init(value: TransactionID) { self.value = value }

    /// Reads the ordinary text form of a UUID.
    ///
    /// - Parameter text: 36 characters; `nil` for any other text.
    public init?(_ text: String) {
        guard let value = TransactionID(text) else { return nil }
        self.value = value
    }

    /// The ordinary text form of a UUID.
    public var description: String { value.description }

    /// How long ago it was made, by the clocks of whoever made it and of this machine.
    package var age: Duration { .milliseconds(Int64(TransactionID.fresh().milliseconds) - Int64(value.milliseconds)) }

    /// Whether the first one is older.
    public static func < (one: SagaID, other: SagaID) -> Bool { one.value < other.value }

    /// Reads the text form.
    ///
    /// - Parameter decoder: where it stands.
    /// - Throws: where that is no UUID.
    public init(from decoder: any Decoder) throws { value = try TransactionID(from: decoder) }

    /// Writes the text form.
    ///
    /// - Parameter encoder: where it goes.
    /// - Throws: what the encoder throws.
    public func encode(to encoder: any Encoder) throws { try value.encode(to: encoder) }
}
