import TandemCore
import TandemPostgres

extension LocatedNode {
    /// The value as a parameter: its text exactly as it is written, never as a parsed number.
    ///
    /// `1.10` keeps its zero and `9007199254740993` its last digit; `null` is NULL, a list the literal of an array, a mapping a JSON text.
    func parameter() throws -> PostgresParameter {
        switch value.content {
        case .null: return .null
        case .text(let text), .plain(let text), .number(let text): return .text(text)
        case .list: return .text(try arrayLiteral())
        case .section: return .text(try json())
        case .dangling: throw dangling
        }
    }

    private var dangling: TandemError { error("a reference leads nowhere", next: "write the value itself") }

    /// PostgreSQL's literal of an array. Each element is quoted, so that none is taken for NULL, a nested array or white space.
    private func arrayLiteral() throws -> String {
        let elements = try list().map { element -> String in
            switch element.value.content {
            case .list: return try element.arrayLiteral()
            case .null: return "NULL"
            case .text(let text), .plain(let text), .number(let text): return Self.quotedElement(text)
            case .section, .dangling: return Self.quotedElement(try element.json())
            }
        }
        return "{\(elements.joined(separator: ","))}"
    }

    private static func quotedElement(_ text: String) -> String {
        "\"\(text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\""))\""
    }

    // MARK: JSON

    /// The value as a JSON text.
    func json() throws -> String {
        switch value.content {
        case .null: return "null"
        case .text(let text): return Self.jsonString(text)
        case .plain(let text): return Self.json(plain: text)
        case .number(let digits): return digits
        case .list: return "[\(try list().map { try $0.json() }.joined(separator: ","))]"
        case .section: return "{\(try entries().map { "\(Self.jsonString($0.name)):\(try $0.value.json())" }.joined(separator: ","))}"
        case .dangling: throw dangling
        }
    }

    /// Without quotes, what JSON has a form for is that, digit for digit; `yes` and `0x1F` are texts, as in YAML 1.2 and JSON.
    private static func json(plain text: String) -> String {
        switch text {
        case "true", "True", "TRUE": "true"
        case "false", "False", "FALSE": "false"
        default: isJSONNumber(text) ? text : jsonString(text)
        }
    }

    /// RFC 8259: an optional minus, digits without a leading zero, a fraction, an exponent.
    static func isJSONNumber(_ text: String) -> Bool {
        text.wholeMatch(of: /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/) != nil
    }

    static func jsonString(_ text: String) -> String {
        var result = "\""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\u{0}"..<"\u{20}":
                let hexadecimal = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - hexadecimal.count) + hexadecimal
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + "\""
    }
}
