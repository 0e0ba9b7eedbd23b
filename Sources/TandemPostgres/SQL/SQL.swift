package import TandemCore

/// One statement with its parameters.
///
/// A value in an interpolation is bound, never spliced into the text: it becomes a placeholder, and its bytes travel beside the text.
///
/// ```swift
/// let name = "Robert'); DROP TABLE students;--"
/// let statement: SQL = "UPDATE students SET name = \(name) WHERE id = \(7)"
/// // text: UPDATE students SET name = $1 WHERE id = $2
/// ```
///
/// ## How values are sent
/// Every value goes in its text form and without a type, so that the server infers the type from the statement, exactly as it does for a
/// quoted literal: `WHERE id = \(7)` compares as whatever `id` is. Where the statement says nothing about the type, add a cast; it is
/// the server that reads the value, so no digit is lost on the way:
///
/// ```swift
/// let total: SQL = "SELECT \(7)::int8 + 1"
/// let day: SQL = "SELECT generate_series(\(first)::date, \(last)::date, '1 day')"
/// let some: SQL = "SELECT name FROM students WHERE id = ANY(\([1, 2, 3]))"
/// ```
///
/// `[UInt8]` and Foundation's `Data` alone go as `bytea` in binary form. nil is NULL. A Swift array is an array of the server.
///
/// ## What is not a value
/// A name is quoted with `\(identifier: name)` or `\(identifier: schema, name)`, another statement or a piece of one is put in with
/// `\(sql: other)` and keeps its own parameters, and `\(unsafe: text)` is the only thing that splices text.
///
/// A value or a name that cannot be sent (a name of more than 63 bytes, a text with the character U+0000) makes the statement fail with a
/// `TandemError` of the code `encodingFailed` when it is about to be sent, and nothing is sent.
public struct SQL: Sendable, ExpressibleByStringInterpolation, CustomStringConvertible {
    /// The statement with placeholders `$1`, `$2` and so on.
    package let text: String
    /// The values of the placeholders.
    package let parameters: ParameterBuffer
    /// Why the statement cannot be sent, if it cannot.
    package let defect: TandemError?

    /// A statement without parameters.
    ///
    /// - Parameter value: Its text.
    public init(stringLiteral value: String) {
        text = value
        parameters = ParameterBuffer()
        defect = Self.defect(of: value)
    }

    /// A statement whose values are bound.
    ///
    /// - Parameter stringInterpolation: The text and the values.
    public init(stringInterpolation: StringInterpolation) {
        text = stringInterpolation.text
        parameters = stringInterpolation.encoder.buffer
        defect = stringInterpolation.encoder.defect ?? Self.defect(of: text)
    }

    /// A statement from data: a text that has its placeholders already, and their values.
    ///
    /// Never build the text from values, as with an interpolated `String`: they would be spliced.
    ///
    /// ```swift
    /// let statement = SQL(line.sql, parameters: line.values.map { .text($0) })
    /// ```
    ///
    /// - Parameters:
    ///   - text: The statement with placeholders `$1`, `$2` and so on.
    ///   - parameters: The values of the placeholders in their order.
    public init(_ text: String, parameters: [PostgresParameter]) {
        var encoder = PostgresEncoder()
        for parameter in parameters { encoder.append(parameter) }
        self.text = text
        self.parameters = encoder.buffer
        defect = encoder.defect ?? Self.defect(of: text)
    }

    /// The text with its placeholders; the values are left out, so that it may be logged.
    public var description: String { text }

    /// libpq takes the text as a C string: what follows a NUL would be cut off silently.
    private static func defect(of text: String) -> TandemError? {
        text.utf8.contains(0) ? TandemError(.encodingFailed, "a statement cannot hold the character U+0000") : nil
    }
}
