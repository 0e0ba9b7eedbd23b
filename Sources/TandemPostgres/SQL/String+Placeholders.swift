extension String {
    /// This statement with each placeholder's number raised, so that it can stand inside another.
    ///
    /// What looks like a placeholder inside a literal, a quoted name, a dollar quote or a comment stays as it is. Literals are read as with
    /// `standard_conforming_strings` on, its default.
    ///
    /// - Parameter offset: How much to add to each number.
    /// - Returns: The statement with the new numbers.
    func shiftingPlaceholders(by offset: Int) -> String {
        guard offset > 0, utf8.contains(UInt8(ascii: "$")) else { return self }
        var copy = self
        let shifted = copy.withUTF8 { bytes -> [UInt8] in
            var result: [UInt8] = []
            result.reserveCapacity(bytes.count + 8)
            var scanner = SQLScanner(bytes)
            while !scanner.isAtEnd {
                let start = scanner.position
                if let number = scanner.placeholder() {
                    result.append(UInt8(ascii: "$"))
                    result.appendDecimal(number + offset)
                } else {
                    scanner.skipPiece()
                    result.append(contentsOf: bytes[start..<Swift.min(scanner.position, bytes.count)])
                }
            }
            return result
        }
        return String(decoding: shifted, as: UTF8.self)
    }
}

extension SQLScanner {
    /// Passes over a placeholder, if one begins here, and gives its number.
    mutating func placeholder() -> Int? {
        guard peek() == UInt8(ascii: "$"), let first = peek(1), Self.isDigit(first) else { return nil }
        var end = position + 1
        var number = 0
        while end < bytes.count, Self.isDigit(bytes[end]) {
            // A number that the server refuses stays what it is.
            guard number <= ParameterBuffer.maximumCount else { return nil }
            number = number * 10 + Int(bytes[end] - UInt8(ascii: "0"))
            end += 1
        }
        position = end
        return number
    }

    /// Passes over one thing that holds no placeholder: a literal, a quoted name, a name, a comment, or one other byte.
    mutating func skipPiece() {
        if let word = word() {
            if word.isKeyword("e"), peek() == UInt8(ascii: "'") { skipQuoted(escapes: true) }
            return
        }
        if skipComment() { return }
        switch peek() {
        case UInt8(ascii: "'"), UInt8(ascii: "\""): skipQuoted()
        case UInt8(ascii: "$"): if !skipDollarQuoted() { position += 1 }
        default: position += 1
        }
    }
}
