/// The text of a statement with its hash, so that a text which is sent over and over is hashed once: the library's own statements are constants.
package struct StatementText: Sendable, Hashable, ExpressibleByStringLiteral {
    package let text: String
    private let hash: Int

    package init(_ text: String) {
        self.text = text
        hash = text.hashValue
    }

    package init(stringLiteral text: String) {
        self.init(text)
    }

    package func hash(into hasher: inout Hasher) {
        hasher.combine(hash)
    }

    package static func == (lhs: StatementText, rhs: StatementText) -> Bool {
        lhs.hash == rhs.hash && lhs.text == rhs.text
    }
}
