import Foundation

/// A JSON value that keeps the order of its keys and every digit of its numbers.
enum JSON: Sendable {
    case null
    case bool(Bool)
    /// A number exactly as it is written.
    case number(String)
    case string(String)
    /// A text that is JSON already.
    case raw(String)
    case array([JSON])
    case object([(String, JSON)])

    /// What a description of the library says of itself; its keys in alphabetical order.
    init(_ value: some Encodable) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        self = .raw(String(decoding: try encoder.encode(value), as: UTF8.self))
    }

    static func number(_ value: Int) -> JSON { .number(String(value)) }

    /// The text, or null where there is none.
    static func string(orNull text: String?) -> JSON { text.map { .string($0) } ?? .null }

    /// The value on one line.
    var text: String {
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

    private static func quoted(_ text: String) -> String {
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
}
