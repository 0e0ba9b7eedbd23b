extension ParameterBuffer {
    /// Parameters that are all given as text, of the types that the statement asks for.
    package init(texts: [String]) {
        var encoder = PostgresEncoder()
        for text in texts { encoder.encode(text: text) }
        self = encoder.buffer
    }
}
