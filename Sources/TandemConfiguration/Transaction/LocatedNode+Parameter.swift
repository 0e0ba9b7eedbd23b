import TandemPostgres
import Yams

extension LocatedNode {
    /// The value as a parameter: its text exactly as it is written, never as a parsed number.
    ///
    /// `1.10` keeps its zero and `9007199254740993` its last digit; `null` is NULL, a list the literal of an array, a mapping a JSON text.
    func parameter() throws -> PostgresParameter {
        switch node {
        case .scalar(let scalar): return isNull ? .null : .text(scalar.string)
        case .sequence: return .text(try arrayLiteral())
        case .mapping: return .text(try json())
        case .alias: throw error("a reference leads nowhere", next: "write the value itself")
        }
    }

    /// PostgreSQL's literal of an array. Each element is quoted, so that none is taken for NULL, a nested array or white space.
    private func arrayLiteral() throws -> String {
        let elements = try list().map { element -> String in
            switch element.node {
            case .sequence: return try element.arrayLiteral()
            case .scalar(let scalar): return element.isNull ? "NULL" : Self.quotedElement(scalar.string)
            case .mapping, .alias: return Self.quotedElement(try element.json())
            }
        }
        return "{\(elements.joined(separator: ","))}"
    }

    private static func quotedElement(_ text: String) -> String {
        "\"\(text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\""))\""
    }

    // MARK: JSON

    private func json() throws -> String {
        switch node {
        case .scalar(let scalar): return isNull ? "null" : Self.json(scalar)
        case .sequence: return "[\(try list().map { try $0.json() }.joined(separator: ","))]"
        case .mapping: return "{\(try entries().map { "\(Self.jsonString($0.name)):\(try $0.value.json())" }.joined(separator: ","))}"
        case .alias: throw error("a reference leads nowhere", next: "write the value itself")
        }
    }

    /// Without quotes, what JSON has a form for is that, digit for digit; `yes` and `0x1F` are texts, as in YAML 1.2 and JSON.
    private static func json(_ scalar: Node.Scalar) -> String {
        guard scalar.style == .plain, scalar.tag.rawValue != Tag.Name.str.rawValue else { return jsonString(scalar.string) }
        switch scalar.string {
        case "true", "True", "TRUE": return "true"
        case "false", "False", "FALSE": return "false"
        default: return isJSONNumber(scalar.string) ? scalar.string : jsonString(scalar.string)
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
