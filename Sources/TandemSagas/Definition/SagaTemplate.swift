import Foundation
import TandemCore

/// A text in which `{name.key}` stands for a value. Braces around anything else, as in JSON, are braces.
struct SagaTemplate: Hashable, Sendable {
    private enum Piece: Hashable, Sendable {
        case text(String)
        case name([String])
    }

    private let pieces: [Piece]

    init(_ text: String) {
        var pieces: [Piece] = [], rest = text[...]
        while let match = rest.firstMatch(of: /\{([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_]+)*)\}/) {
            pieces.append(.text(String(rest[..<match.range.lowerBound])))
            pieces.append(.name(match.1.split(separator: ".").map(String.init)))
            rest = rest[match.range.upperBound...]
        }
        pieces.append(.text(String(rest)))
        self.pieces = pieces
    }

    /// RFC 3986, section 2.3.
    private static let unreserved = CharacterSet(charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

    /// The names of its values.
    var names: [[String]] {
        pieces.compactMap {
            switch $0 {
            case .text: nil
            case .name(let name): name
            }
        }
    }

    /// The text with its values.
    ///
    /// - Parameters:
    ///   - scope: the values.
    ///   - isAddress: whether it is an address, in which values are parts that end nothing.
    /// - Returns: the text.
    /// - Throws: where there is no such value.
    func text(_ scope: SagaScope, isAddress: Bool = false) throws -> String {
        try pieces.map { piece in
            switch piece {
            case .text(let text): return text
            case .name(let name):
                let text: String
                switch try scope.value(of: name) {
                case .string(let value): text = value
                case .null: text = ""
                case let value: text = value.text
                }
                return isAddress ? text.addingPercentEncoding(withAllowedCharacters: Self.unreserved) ?? "" : text
            }
        }.joined()
    }

    /// The value, where the text is one name and nothing else.
    func value(_ scope: SagaScope) throws -> JSON? {
        guard names.count == 1, pieces.allSatisfy({ $0 == .text("") || $0 == .name(names[0]) }) else { return nil }
        return try scope.value(of: names[0])
    }
}

extension JSON {
    /// A body with its values: a string that is one name is the value itself.
    func filled(_ scope: SagaScope) throws -> JSON {
        switch self {
        case .null, .bool, .number, .raw: return self
        case .string(let text):
            let template = SagaTemplate(text)
            return try template.value(scope) ?? .string(try template.text(scope))
        case .array(let values): return .array(try values.map { try $0.filled(scope) })
        case .object(let entries): return .object(try entries.map { ($0.0, try $0.1.filled(scope)) })
        }
    }
}

/// The values that the statements and requests of one saga may name.
struct SagaScope: Sendable {
    let saga: SagaID
    let input: JSON
    /// What the steps that are done have left, by their names.
    var outputs: [String: JSON] = [:]
    /// In what undoes a step: that step's own output.
    var own: JSON?

    /// A value by its name; NULL where its key does not stand there.
    func value(of name: [String]) throws -> JSON {
        let root: JSON
        switch name[0] {
        case "saga_id": root = .string(saga.description)
        case "input": root = input
        case "output": root = own ?? .null
        default:
            guard let output = outputs[name[0]] else {
                throw TandemError(.configurationInvalid, "the step `\(name[0])` has no output yet", nextStep: "let the step need it")
            }
            root = output
        }
        return root.value(at: name.dropFirst()) ?? .null
    }
}
