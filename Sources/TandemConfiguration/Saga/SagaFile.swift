import Foundation
public import TandemCore
public import TandemSagas

/// A saga in a file: see docs/sagas.md for the form.
///
/// ```yaml
/// saga: order
/// version: 1
/// steps:
///   order:
///     node: n1
///     do: INSERT INTO orders (saga, item) VALUES (:saga_id, :input.item) RETURNING id
///     undo: DELETE FROM orders WHERE saga = :saga_id
///   stock:
///     node: n2
///     do: UPDATE stock SET count = count - 1 WHERE item = :input.item
///     expect: {rows: 1}
///     undo: UPDATE stock SET count = count + 1 WHERE item = :input.item
/// ```
public enum SagaFile {
    private static let keys = ["saga", "version", "deadline", "on_undo_failure", "steps"]

    /// Reads a definition, with the SQL files that it names.
    ///
    /// - Parameters:
    ///   - path: the file; `-` is standard input.
    ///   - nodes: the nodes of the cluster; `nil` where they are not known.
    /// - Returns: the definition, which breaks no rule.
    /// - Throws: `configurationInvalid` with file, line and key.
    public static func load(path: String, nodes: Set<NodeName>? = nil) throws -> SagaDefinition {
        let document = try YAMLDocument(path: path, next: "name a file, or `-` for standard input")
        let folder = path == "-" ? "." : URL(fileURLWithPath: path).standardizedFileURL.deletingLastPathComponent().path
        return try SagaFileReader(folder: folder).read(try document.root.section(keys), nodes)
    }

    /// Reads a definition from a text.
    ///
    /// - Parameters:
    ///   - text: YAML or JSON.
    ///   - name: what errors call it.
    ///   - nodes: the nodes of the cluster; `nil` where they are not known.
    /// - Returns: the definition, which breaks no rule.
    /// - Throws: `configurationInvalid` with name, line and key.
    public static func parse(_ text: String, name: String, nodes: Set<NodeName>? = nil) throws -> SagaDefinition {
        try SagaFileReader(folder: ".").read(try YAMLDocument(text, file: name).root.section(keys), nodes)
    }
}
