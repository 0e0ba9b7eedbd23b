/// Why one value could not be read; the row layer adds column and row and makes a `TandemError` of it.
///
/// It never holds the value itself, since errors are logged.
package struct PostgresDecodingError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What was wrong.
    package enum Reason: Sendable, Hashable {
        /// NULL for a type without it.
        case null
        /// The server's type is not one that the Swift type is read from.
        case typeMismatch
        /// The bytes are not a form of the type.
        case malformed
        /// The value does not fit the Swift type.
        case outOfRange
        /// The value has digits that the Swift type cannot hold.
        case losesDigits
        /// Something else, in words.
        case refused(String)
    }

    /// The Swift type that was wanted.
    package let expected: String
    /// The type of the column or of the array's elements.
    package let type: PostgresType
    /// What was wrong.
    package let reason: Reason

    init(_ expected: Any.Type, _ type: PostgresType, _ reason: Reason) {
        self.expected = String(describing: expected)
        self.type = type
        self.reason = reason
    }

    /// What was wrong, in words.
    package var description: String {
        switch reason {
        case .null: "NULL where a \(expected) was expected; read it as \(expected)?"
        case .typeMismatch: "\(type) is not read as \(expected)"
        case .malformed: "the bytes are no \(type) that \(expected) can be read from"
        case .outOfRange: "the \(type) does not fit \(expected)"
        case .losesDigits: "the \(type) has digits that \(expected) cannot hold"
        case .refused(let why): "\(expected) cannot be read from \(type): \(why)"
        }
    }
}
