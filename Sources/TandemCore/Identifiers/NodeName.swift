/// The name by which a configuration, a program and a log call one node.
///
/// A name is 1 to 63 bytes of `[A-Za-z0-9_.-]` and starts with a letter or a digit, so that it can stand in a log key, a metric label, a
/// command line or a file name without quoting. Write the ones of your program down once:
///
/// ```swift
/// extension NodeName {
///     static let bankA: NodeName = "bank-a"
/// }
/// ```
public struct NodeName: Hashable, Sendable, Comparable, Codable, CustomStringConvertible, ExpressibleByStringLiteral {
    /// The name as text.
    public let rawValue: String

    /// Reads a name that comes from outside: a configuration, a command line, a request.
    ///
    /// - Parameter name: 1 to 63 bytes of `[A-Za-z0-9_.-]`, the first one a letter or a digit.
    /// - Throws: ``Invalid`` if the text is anything else.
    public init(_ name: String) throws(Invalid) {
        let bytes = name.utf8
        guard (1...63).contains(bytes.count), let first = bytes.first, first.isNameLetterOrDigit, bytes.allSatisfy(\.isNameByte) else {
            throw Invalid(text: name)
        }
        self.rawValue = name
    }

    /// A name written down in source code; it traps on one that is not a name, which is a mistake of the program.
    ///
    /// Swift calls this one for `NodeName("literal")` too; pass a variable to get the throwing initialiser.
    public init(stringLiteral value: String) {
        do {
            try self.init(value)
        } catch {
            preconditionFailure(error.description)
        }
    }

    /// Reads a name from its text, and fails with `DecodingError.dataCorrupted` where it is not one.
    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let text = try container.decode(String.self)
        do {
            try self.init(text)
        } catch {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: error.description)
        }
    }

    /// Writes the name as one string.
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(rawValue)
    }

    /// The name as text.
    public var description: String { rawValue }

    /// The order of the names' bytes.
    public static func < (lhs: NodeName, rhs: NodeName) -> Bool { lhs.rawValue < rhs.rawValue }

    /// A text that is not the name of a node.
    public struct Invalid: Error, Hashable, Sendable, CustomStringConvertible {
        /// The text that was refused.
        public let text: String

        /// What is wrong, with the text made printable and cut to a bearable length.
        public var description: String {
            "\(text.quotedForDiagnosis) is not the name of a node: 1 to 63 of A-Z a-z 0-9 _ . -, and a letter or digit first"
        }
    }
}
