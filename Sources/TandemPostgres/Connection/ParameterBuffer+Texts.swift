import TandemCore

extension ParameterBuffer {
    /// Parameters that are all given as text, of the types that the statement asks for.
    ///
    /// For texts of the library's own making. What a caller gave goes through ``SQL``, which refuses what cannot be sent; here it ends the program, since
    /// libpq would cut a text at U+0000 and the server would be told something else.
    package init(texts: [String]) {
        var encoder = PostgresEncoder()
        for text in texts { encoder.encode(text: text) }
        if let defect = encoder.defect { preconditionFailure(defect.message) }
        self = encoder.buffer
    }
}
