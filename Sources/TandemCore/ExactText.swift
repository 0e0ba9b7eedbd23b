/// A text that is another one where any byte is: as `text` of PostgreSQL compares, with a deterministic collation.
///
/// `String` takes for the same what Unicode calls canonically equivalent, `é` as one character or as two, so that a dictionary by `String` holds one of two rows of a table.
package struct ExactText: Hashable, Sendable {
    /// The text.
    package let text: String

    /// - Parameter text: the text.
    package init(_ text: String) { self.text = text }

    package static func == (one: ExactText, other: ExactText) -> Bool { one.text.utf8.elementsEqual(other.text.utf8) }

    package func hash(into hasher: inout Hasher) {
        for byte in text.utf8 { hasher.combine(byte) }
    }
}
