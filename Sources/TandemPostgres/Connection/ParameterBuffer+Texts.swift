extension ParameterBuffer {
    /// Parameters that are all given as text, of the types that the statement asks for.
    ///
    /// For texts of the library's own making. What a caller gave goes through ``SQL``, which refuses what cannot be sent; here it ends the program, since
    /// libpq would cut a text at U+0000 and the server would be told something else.
    package init(texts: [String]) {
        self.init()
        bytes.reserveCapacity(texts.reduce(texts.count) { $0 + $1.utf8.count })
        for text in texts { append(text: text) }
    }

    /// Adds a text, as the initialiser does.
    package mutating func append(text: String) {
        precondition(!text.utf8.contains(0), "a text parameter cannot hold U+0000")
        let start = bytes.count
        bytes.append(contentsOf: text.utf8)
        precondition(close(from: start, type: .unspecified, format: .text), "a text parameter is too long")
    }

    /// Adds a uuid in binary form. The statement's text must say that it is one.
    package mutating func append(uuid: (high: UInt64, low: UInt64)) {
        let start = bytes.count
        bytes.reserveCapacity(start + 64)
        bytes.appendBigEndian(uuid.high)
        bytes.appendBigEndian(uuid.low)
        _ = close(from: start, type: .unspecified, format: .binary)
    }

    /// Adds an array of `int2` in binary form. The statement's text must say that it is one.
    package mutating func append(_ numbers: [Int16]) {
        let start = bytes.count
        // Dimensions, whether there are NULLs, the elements' type; then the dimension's length and lower bound.
        for word in [1, 0, Int32(bitPattern: PostgresType.int2.rawValue), Int32(numbers.count), 1] as [Int32] { bytes.appendBigEndian(word) }
        for number in numbers {
            bytes.appendBigEndian(Int32(2))
            bytes.appendBigEndian(number)
        }
        _ = close(from: start, type: .unspecified, format: .binary)
    }
}
