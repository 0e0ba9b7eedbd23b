/// The statements of a script, each without its semicolon, as psql parts them.
///
/// A semicolon inside a literal, a quoted name, a dollar quote, a comment or parentheses ends nothing, nor does one in the body of a function that is written
/// between BEGIN ATOMIC and END. Literals are read as with `standard_conforming_strings` on, its default.
///
/// - Parameter script: the text.
/// - Returns: the statements in order; comments and white space alone are none.
package func sqlStatements(in script: String) -> [String] {
    var script = script
    return script.withUTF8 { bytes in
        var scanner = SQLScanner(bytes)
        var statements: [String] = []
        while let statement = scanner.statement() { statements.append(statement) }
        return statements
    }
}

extension SQLScanner {
    /// Passes over the next statement and its semicolon; `nil` where only white space and comments are left.
    fileprivate mutating func statement() -> String? {
        skipSpace()
        while peek() == UInt8(ascii: ";") {
            position += 1
            skipSpace()
        }
        guard !isAtEnd else { return nil }
        let start = position
        var parentheses = 0, blocks = 0, words = 0
        var isRoutine = false, startsWithCreate = false
        while let byte = peek() {
            switch byte {
            case UInt8(ascii: ";") where parentheses <= 0 && blocks == 0:
                defer { position += 1 }
                return String(decoding: bytes[start..<position], as: UTF8.self)
            case UInt8(ascii: "("):
                parentheses += 1
                position += 1
            case UInt8(ascii: ")"):
                parentheses -= 1
                position += 1
            default:
                let here = position
                guard let word = word() else {
                    skipPiece()
                    continue
                }
                words += 1
                if words == 1 { startsWithCreate = word.isKeyword("create") }
                // CREATE [OR REPLACE] FUNCTION
                if startsWithCreate && words <= 4 && (word.isKeyword("function") || word.isKeyword("procedure")) { isRoutine = true }
                if isRoutine { blocks += Self.depth(of: word, inside: blocks > 0) }
                if word.isKeyword("e"), peek() == UInt8(ascii: "'") {
                    position = here
                    skipPiece()
                }
            }
        }
        return String(decoding: bytes[start..<min(position, bytes.count)], as: UTF8.self)
    }

    /// What a word adds to the depth of a routine's body.
    private static func depth(of word: UnsafeBufferPointer<UInt8>, inside isInside: Bool) -> Int {
        if word.isKeyword("begin") { return 1 }
        guard isInside else { return 0 }
        return word.isKeyword("case") ? 1 : word.isKeyword("end") ? -1 : 0
    }
}
