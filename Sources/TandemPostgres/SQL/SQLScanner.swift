/// Walks over the text of a statement as the server's lexer does, as far as its pieces have to be told apart.
///
/// It works on bytes: all that it looks for is ASCII, and bytes from 0x80 on are parts of names.
struct SQLScanner {
    let bytes: UnsafeBufferPointer<UInt8>
    var position = 0

    init(_ bytes: UnsafeBufferPointer<UInt8>) { self.bytes = bytes }

    var isAtEnd: Bool { position >= bytes.count }

    /// The byte at a distance from the place where we are, if there is one.
    func peek(_ distance: Int = 0) -> UInt8? {
        position + distance < bytes.count ? bytes[position + distance] : nil
    }

    /// Passes over white space and comments.
    mutating func skipSpace() {
        while let byte = peek() {
            if Self.isSpace(byte) {
                position += 1
            } else if !skipComment() {
                return
            }
        }
    }

    /// Passes over a comment, if one begins here; one without an end reaches to the end of the text.
    mutating func skipComment() -> Bool {
        switch (peek(), peek(1)) {
        case (UInt8(ascii: "-"), UInt8(ascii: "-")):
            while let byte = peek(), byte != UInt8(ascii: "\n"), byte != UInt8(ascii: "\r") { position += 1 }
            return true
        case (UInt8(ascii: "/"), UInt8(ascii: "*")):
            skipBlockComment()
            return true
        default:
            return false
        }
    }

    private mutating func skipBlockComment() {
        var depth = 0
        while let byte = peek() {
            switch (byte, peek(1)) {
            case (UInt8(ascii: "/"), UInt8(ascii: "*")):
                depth += 1
                position += 2
            case (UInt8(ascii: "*"), UInt8(ascii: "/")):
                depth -= 1
                position += 2
                if depth == 0 { return }
            default:
                position += 1
            }
        }
    }

    /// Passes over a name or keyword, if one begins here, and gives its bytes; nil where none does.
    mutating func word() -> UnsafeBufferPointer<UInt8>? {
        guard let first = peek(), Self.isIdentifierStart(first) else { return nil }
        let start = position
        while let byte = peek(), Self.isIdentifierPart(byte) { position += 1 }
        return UnsafeBufferPointer(rebasing: bytes[start..<position])
    }

    /// Passes over white space and comments and a word after them.
    mutating func nextWord() -> UnsafeBufferPointer<UInt8>? {
        skipSpace()
        return word()
    }

    /// Passes over a quoted literal or name that begins here.
    mutating func skipQuoted(escapes: Bool = false) {
        guard let quote = peek() else { return }
        position += 1
        while let byte = peek() {
            position += 1
            if byte == UInt8(ascii: "\\"), escapes {
                position += 1
            } else if byte == quote {
                // A doubled quote is a literal that ends and one that begins at once.
                return
            }
        }
    }

    /// Passes over `$tag$ ... $tag$`, if one begins here.
    mutating func skipDollarQuoted() -> Bool {
        var end = position + 1
        while end < bytes.count, Self.isIdentifierPart(bytes[end]), bytes[end] != UInt8(ascii: "$") { end += 1 }
        guard end < bytes.count, bytes[end] == UInt8(ascii: "$") else { return false }
        let delimiter = bytes[position...end]
        position = end + 1
        while !isAtEnd {
            if peek() == UInt8(ascii: "$"), bytes[position...].starts(with: delimiter) {
                position += delimiter.count
                return true
            }
            position += 1
        }
        return true
    }

    static func isSpace(_ byte: UInt8) -> Bool {
        // Space, tab, line feed, vertical tab (since PostgreSQL 16), form feed, carriage return.
        byte == 0x20 || (0x09...0x0d).contains(byte)
    }

    static func isIdentifierStart(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20) || byte == UInt8(ascii: "_") || byte >= 0x80
    }

    static func isDigit(_ byte: UInt8) -> Bool { byte &- UInt8(ascii: "0") < 10 }

    static func isIdentifierPart(_ byte: UInt8) -> Bool {
        isIdentifierStart(byte) || isDigit(byte) || byte == UInt8(ascii: "$")
    }
}

extension UnsafeBufferPointer<UInt8> {
    /// Whether these bytes are a keyword, whatever the case of their letters.
    func isKeyword(_ lowercase: StaticString) -> Bool {
        guard count == lowercase.utf8CodeUnitCount else { return false }
        for index in indices where self[index].asciiLowercased != lowercase.utf8Start[index] { return false }
        return true
    }
}

extension UInt8 {
    /// The lower-case letter where this is an ASCII letter, else the byte itself.
    var asciiLowercased: UInt8 {
        (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(self) ? self | 0x20 : self
    }
}
