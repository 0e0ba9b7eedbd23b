/// A statement whose values have names: each `:name` or `:name.key.key` is a value, and nothing is spliced.
package struct NamedStatement: Hashable, Sendable {
    /// The statement with placeholders `$1`, `$2` and so on.
    package let text: String
    /// For each placeholder the parts of its name.
    package let names: [[String]]

    /// Reads a statement.
    ///
    /// A colon before a letter begins a name, unless it is one of two (a cast), or stands inside a literal, a quoted name, a dollar quote or a comment. The bounds of an
    /// array's slice need a space after the colon, where the second begins with a letter.
    ///
    /// - Parameter statement: the text.
    package init(_ statement: String) {
        var copy = statement
        (text, names) = copy.withUTF8 { bytes -> (String, [[String]]) in
            var result: [UInt8] = [], names: [[String]] = []
            result.reserveCapacity(bytes.count + 8)
            var scanner = SQLScanner(bytes)
            while !scanner.isAtEnd {
                let start = scanner.position
                if let name = scanner.namedPlaceholder() {
                    let number = names.firstIndex(of: name) ?? names.count
                    if number == names.count { names.append(name) }
                    result.append(UInt8(ascii: "$"))
                    result.appendDecimal(number + 1)
                } else {
                    scanner.skipPiece()
                    result.append(contentsOf: bytes[start..<Swift.min(scanner.position, bytes.count)])
                }
            }
            return (String(decoding: result, as: UTF8.self), names)
        }
    }
}

extension SQLScanner {
    /// Passes over `:name.key`, if one begins here, and gives its parts.
    fileprivate mutating func namedPlaceholder() -> [String]? {
        guard peek() == UInt8(ascii: ":"), let first = peek(1), Self.isIdentifierStart(first), position == 0 || bytes[position - 1] != UInt8(ascii: ":") else {
            return nil
        }
        position += 1
        var parts: [String] = []
        while true {
            let start = position
            while let byte = peek(), Self.isNamePart(byte) { position += 1 }
            parts.append(String(decoding: bytes[start..<position], as: UTF8.self))
            guard peek() == UInt8(ascii: "."), let next = peek(1), Self.isNamePart(next) else { return parts }
            position += 1
        }
    }

    private static func isNamePart(_ byte: UInt8) -> Bool { isIdentifierPart(byte) && byte != UInt8(ascii: "$") }
}
