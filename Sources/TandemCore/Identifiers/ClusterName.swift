/// The name of a cluster: it stands in every gid, so that two clusters on one server never touch each other's branches.
///
/// A name is 1 to 16 bytes of `[A-Za-z0-9_.-]`. The length keeps a gid near 60 bytes, 70 at most (PostgreSQL allows 199), and no colon can stand in it,
/// because the colon separates the fields of a gid.
///
/// ```swift
/// let cluster: ClusterName = "bank"
/// ```
public struct ClusterName: Hashable, Sendable, Comparable, Codable, CustomStringConvertible, ExpressibleByStringLiteral {
    /// The name as text.
    public let rawValue: String

    /// Reads a name that comes from outside.
    ///
    /// - Parameter name: 1 to 16 bytes of `[A-Za-z0-9_.-]`.
    /// - Throws: ``Invalid`` if the text is anything else.
    public init(_ name: String) throws(Invalid) {
        guard (1...16).contains(name.utf8.count), name.utf8.allSatisfy(\.isNameByte) else {
            throw Invalid(text: name)
        }
        self.rawValue = name
    }

    /// A name written down in source code; it traps on one that is not a name, which is a mistake of the program.
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
    public static func < (lhs: ClusterName, rhs: ClusterName) -> Bool { lhs.rawValue < rhs.rawValue }

    /// A text that is not the name of a cluster.
    public struct Invalid: Error, Hashable, Sendable, CustomStringConvertible {
        /// The text that was refused.
        public let text: String

        /// What is wrong, with the text made printable and cut to a bearable length.
        public var description: String {
            "\(text.quotedForDiagnosis) is not the name of a cluster: 1 to 16 of A-Z a-z 0-9 _ . -"
        }
    }
}
