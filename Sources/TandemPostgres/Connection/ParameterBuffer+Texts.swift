extension ParameterBuffer {
    /// Parameters that are all given as text, of the types that the statement asks for.
    ///
    /// For texts of the library's own making. What a caller gave goes through ``SQL``, which refuses what cannot be sent; here it ends the program, since
    /// libpq would cut a text at U+0000 and the server would be told something else.
    package init(texts: [String]) {
        self.init()
        bytes.reserveCapacity(texts.reduce(texts.count) { $0 + $1.utf8.count })
        for text in texts {
            precondition(!text.utf8.contains(0), "a text parameter cannot hold U+0000")
            let start = bytes.count
            bytes.append(contentsOf: text.utf8)
            precondition(close(from: start, type: .unspecified, format: .text), "a text parameter is too long")
        }
    }
}
