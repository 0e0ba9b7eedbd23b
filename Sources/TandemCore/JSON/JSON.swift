/// A JSON value that keeps the order of its keys and every digit of its numbers.
package enum JSON: Sendable {
    case null
    case bool(Bool)
    /// A number exactly as it is written.
    case number(String)
    case string(String)
    /// A text that is JSON already.
    case raw(String)
    case array([JSON])
    case object([(String, JSON)])

    /// A whole number.
    package static func number(_ value: Int) -> JSON { .number(String(value)) }

    /// The text, or null where there is none.
    package static func string(orNull text: String?) -> JSON { text.map { .string($0) } ?? .null }

    /// The value on one line.
    package var text: String {
        switch self {
        case .null: "null"
        case .bool(let value): value ? "true" : "false"
        case .number(let digits): digits
        case .string(let text): Self.quoted(text)
        // A line break inside a string is escaped, so one in the text stands between values.
        case .raw(let text): String(String.UnicodeScalarView(text.unicodeScalars.map { $0 == "\n" || $0 == "\r" ? " " : $0 }))
        case .array(let values): "[\(values.map(\.text).joined(separator: ","))]"
        case .object(let entries): "{\(entries.map { "\(Self.quoted($0.0)):\($0.1.text)" }.joined(separator: ","))}"
        }
    }

    static func quoted(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            // Control characters must be escaped; the two line separators end a line for some readers.
            case "\u{0}"..<"\u{20}", "\u{7F}", "\u{2028}", "\u{2029}":
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }

    /// The value at a path of keys and, in arrays, places from 0; `nil` where there is none.
    package func value(at path: some Collection<String>) -> JSON? {
        guard let key = path.first else { return self }
        let inside: JSON? =
            switch self {
            case .object(let entries): entries.first { $0.0 == key }?.1
            case .array(let values): Int(key).flatMap { values.indices.contains($0) ? values[$0] : nil }
            case .raw(let text): (try? JSON(reading: text))?.value(at: [key])
            case .null, .bool, .number, .string: nil
            }
        return inside?.value(at: path.dropFirst())
    }
}
