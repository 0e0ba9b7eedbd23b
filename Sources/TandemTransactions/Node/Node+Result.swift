import TandemCore
package import TandemPostgres

extension Node {
    /// Runs a statement that commits on its own, for a capability that reads the result itself.
    ///
    /// - Parameters:
    ///   - sql: one statement.
    ///   - timeout: how long everything may take.
    /// - Returns: its result.
    /// - Throws: as `execute(_:rows:timeout:)` does.
    package func result(of sql: SQL, timeout: Duration = Node.patience) async throws -> ResultSet {
        guard let result = try await run(sql, timeout) else { throw TandemError(.protocolViolation, "the server sent no answer", node: name) }
        return result
    }
}
