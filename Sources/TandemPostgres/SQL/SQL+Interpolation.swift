import TandemCore

extension SQL {
    /// Collects the text and the values of a statement; used by string literals of the type ``SQL``.
    public struct StringInterpolation: StringInterpolationProtocol, Sendable {
        var text: String
        var encoder = PostgresEncoder()
        /// The text ends with a placeholder, whose number a digit would change.
        private var endsWithPlaceholder = false

        /// Nothing collected yet.
        ///
        /// - Parameters:
        ///   - literalCapacity: How many bytes of text there will be.
        ///   - interpolationCount: How many interpolations there will be.
        public init(literalCapacity: Int, interpolationCount: Int) {
            text = ""
            text.reserveCapacity(literalCapacity + interpolationCount * 4)
        }

        /// Text as it stands in the literal.
        ///
        /// - Parameter literal: The text.
        public mutating func appendLiteral(_ literal: String) { append(literal) }

        /// Binds a value; nil is NULL.
        ///
        /// - Parameter value: The value. An optional, since the compiler warns of optionals where the parameter is none.
        public mutating func appendInterpolation<Value: PostgresEncodable>(_ value: Value?) {
            if let value { encoder.append(value) } else { encoder.append(value) }
            appendPlaceholder()
        }

        /// Quotes a name of a table, column or another object.
        ///
        /// - Parameter name: The name, of 1 to 63 bytes, without U+0000; case matters, since it is quoted.
        public mutating func appendInterpolation(identifier name: String) {
            append(quoted(name))
        }

        /// Quotes a name with the schema or table that it belongs to.
        ///
        /// - Parameters:
        ///   - qualifier: The schema of an object, or the table of a column.
        ///   - name: The name.
        public mutating func appendInterpolation(identifier qualifier: String, _ name: String) {
            append("\(quoted(qualifier)).\(quoted(name))")
        }

        /// Puts in another statement or a piece of one, which keeps its parameters: its placeholders are numbered on from those so far.
        ///
        /// - Parameter sql: The other one.
        public mutating func appendInterpolation(sql: SQL) {
            append(sql.text.shiftingPlaceholders(by: encoder.buffer.count))
            encoder.append(sql.parameters, defect: sql.defect)
        }

        /// Splices text as it is: the only way to do so. Whoever controls the text controls the database.
        ///
        /// Use it for what can be neither a value nor a name, such as `ASC`, and only with text that stands in the program.
        ///
        /// - Parameter text: The text.
        public mutating func appendInterpolation(unsafe text: String) { append(text) }
    }
}

extension SQL.StringInterpolation {
    private mutating func appendPlaceholder() {
        // `id=\(7)` needs nothing, but `LIMIT\(7)` would make the name LIMIT$1 and `$\(7)` would open a dollar quote.
        if let last = text.utf8.last, SQLScanner.isIdentifierPart(last) { text.append(" ") }
        text.append("$")
        text.append(String(encoder.buffer.count))
        endsWithPlaceholder = true
    }

    private mutating func append(_ piece: String) {
        guard let first = piece.utf8.first else { return }
        // `\(a)0` would make the placeholder $10 of $1.
        if endsWithPlaceholder, SQLScanner.isIdentifierPart(first) { text.append(" ") }
        text.append(piece)
        endsWithPlaceholder = false
    }

    private mutating func quoted(_ name: String) -> String {
        do {
            return try quoteIdentifier(name)
        } catch {
            encoder.reject(error.message)
            // An empty name is refused by every server, should the text be sent in spite of the defect.
            return "\"\""
        }
    }
}
