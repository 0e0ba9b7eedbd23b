import Foundation
import TandemCore
import TandemPostgres
public import TandemTransactions

/// A transaction in a file: what to run on which node.
///
/// ```yaml
/// operations:
///   - node: bankA
///     sql: UPDATE account SET balance = balance - $1 WHERE id = $2
///     params: [10.00, 1]
///     expect: {rows: 1}
///   - node: bankB
///     sql: UPDATE account SET balance = balance + $1 WHERE id = $2
///     params: [10.00, 7]
///     expect: {rows: 1}
/// timeout: 10s
/// ```
///
/// A parameter goes to the server as it is written, digit for digit, and the statement decides its type.
public enum TransactionFile {
    static let keys = ["operations", "isolation", "timeout", "acknowledge", "id"]

    /// Reads a transaction.
    ///
    /// - Parameter path: the file; `-` is standard input.
    /// - Returns: the transaction.
    /// - Throws: `configurationInvalid` with file, line and key.
    public static func load(path: String) throws -> TransactionRequest {
        try read(YAMLDocument(path: path, next: "name a file, or `-` for standard input"))
    }

    /// Reads a transaction from a text.
    ///
    /// - Parameters:
    ///   - text: YAML or JSON.
    ///   - name: what errors call it.
    /// - Returns: the transaction.
    /// - Throws: `configurationInvalid` with name, line and key.
    public static func parse(_ text: String, name: String) throws -> TransactionRequest {
        try read(YAMLDocument(text, file: name))
    }

    private static func read(_ document: YAMLDocument) throws -> TransactionRequest {
        try read(try document.root.section(keys))
    }

    static func read(_ section: LocatedNode.Section) throws -> TransactionRequest {
        let list = try section.required("operations")
        let operations = try list.list("a list of operations").map(operation)
        guard !operations.isEmpty else { throw list.error("there is no operation", next: "write at least one, with node and sql") }
        var options = TransactionOptions()
        if let value = section["isolation"] { options.isolation = try isolation(value) }
        if let value = section["timeout"] { options.timeout = try value.duration() }
        if let value = section["acknowledge"] {
            options.acknowledgement = try value.choice(Acknowledgement.allCases.map { ($0.rawValue, $0) })
        }
        if let value = section["id"] {
            let text = try value.text("a UUID")
            guard let id = TransactionID(text) else {
                throw value.error("`\(text)` is not a UUID", next: "write 36 characters, as `018f3e2a-7c4b-7d11-9a52-0123456789ab`")
            }
            options.id = id
        }
        return TransactionRequest(operations, options: options)
    }

    private static func operation(_ place: LocatedNode) throws -> TransactionRequest.Operation {
        let section = try place.section(["node", "sql", "params", "expect"])
        let name = try section.required("node")
        let node: NodeName
        do {
            node = try NodeName(try name.text("the name of a node"))
        } catch let error as NodeName.Invalid {
            throw name.error(error.description, next: "write the name of a node of the configuration")
        }
        let text = try section.required("sql").text("one SQL statement")
        let parameters = try section["params"]?.list("a list of parameters").map { try $0.parameter() } ?? []
        return TransactionRequest.Operation(
            node, SQL(text, parameters: parameters), expectedRows: try section["expect"].flatMap(expectation))
    }

    /// `{rows: 1}` or `{rows: {min: 1, max: 3}}`.
    static func expectation(_ place: LocatedNode) throws -> ClosedRange<Int>? {
        guard let rows = try place.section(["rows"])["rows"] else { return nil }
        guard rows.isSection else {
            let count = try rows.integer(in: 0...Int.max)
            return count...count
        }
        let bounds = try rows.section(["min", "max"])
        let minimum = try bounds["min"]?.integer(in: 0...Int.max) ?? 0
        let maximum = try bounds["max"]?.integer(in: 0...Int.max) ?? Int.max
        guard minimum <= maximum else { throw rows.error("min is above max", next: "swap them") }
        return minimum...maximum
    }

    private static func isolation(_ place: LocatedNode) throws -> Isolation {
        let spellings = Isolation.allCases.flatMap { level in
            [level.rawValue, level.rawValue.replacing(" ", with: "_"), level.rawValue.replacing(" ", with: "-")].map { ($0, level) }
        }
        let text = try place.text("an isolation level").lowercased()
        guard let found = spellings.first(where: { $0.0 == text }) else {
            throw place.error(
                "`\(text)` is no isolation level",
                next: "write one of \(Isolation.allCases.map { "`\($0.rawValue)`" }.joined(separator: ", "))")
        }
        return found.1
    }
}
