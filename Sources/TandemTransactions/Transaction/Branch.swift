import TandemCluster
public import TandemCore
public import TandemPostgres

/// The part of a global transaction on one node.
///
/// Overlapping calls queue in order and never interleave. A statement that fails dooms the branch, and so the transaction, unless it ran inside
/// ``savepoint(_:)``.
public struct Branch: Sendable {
    let transaction: GlobalTransaction
    /// The node's name.
    public let node: NodeName

    private var session: BranchSession { get throws { try transaction.session(node) } }

    /// Runs a statement and returns how many rows it touched.
    ///
    /// - Parameters:
    ///   - sql: one statement; interpolated values are bound, never spliced.
    ///   - rows: how many rows it must touch; any number by default.
    /// - Returns: the number in the statement's command tag; 0 for statements without one.
    /// - Throws: `statementRefused` for statements that begin, end or prepare transactions; `statementFailed` and its kin with the server's
    ///   SQLSTATE; `expectationViolated` when another number of rows was touched. Cancellation asks the server to stop, closes the connection and
    ///   throws `CancellationError`.
    @discardableResult
    public func execute(_ sql: SQL, rows: ClosedRange<Int>? = nil) async throws -> Int {
        let session = try session
        let results = try await session.run([try Statement(sql)])
        let count = results.last?.affectedRows ?? 0
        if let rows, !rows.contains(count) {
            let error = Expectation.violated(count, rows, node)
            session.fail(error)
            throw error
        }
        return count
    }

    /// Runs a query and returns its rows as tuples.
    ///
    /// ```swift
    /// let rows = try await tx["bankA"].query("SELECT id, balance FROM account WHERE owner = \(name)", as: Int64.self, Decimal.self)
    /// ```
    ///
    /// - Parameters:
    ///   - sql: one statement that returns rows.
    ///   - types: the type of each column.
    /// - Returns: the rows, in order.
    /// - Throws: `decodingFailed` with column, type and row, and what ``execute(_:rows:)`` throws.
    @inlinable
    public func query<each C: PostgresDecodable>(_ sql: SQL, as types: repeat (each C).Type) async throws -> [(repeat each C)] {
        try await result(of: sql)?.rows(of: node, as: repeat each types) ?? []
    }

    /// Runs a query of one column and returns its values.
    ///
    /// A function of its own, since the compiler does not see a tuple of one element as that element where the type is still to be found, as in a closure that returns it.
    ///
    /// - Parameters:
    ///   - sql: one statement that returns rows of one column.
    ///   - type: the column's type.
    /// - Returns: the values, in order.
    /// - Throws: as the function for several columns does.
    @inlinable
    public func query<Column: PostgresDecodable>(_ sql: SQL, as type: Column.Type) async throws -> [Column] {
        try await result(of: sql)?.rows(of: node, as: type) ?? []
    }

    @usableFromInline
    func result(of sql: SQL) async throws -> ResultSet? { try await session.run([try Statement(sql)]).last }

    /// Runs a query and returns its rows as values of a `Decodable` type, by column name.
    ///
    /// - Parameters:
    ///   - sql: one statement that returns rows.
    ///   - type: the type of each row; its keys are column names, as they are or in snake case.
    /// - Returns: the rows, in order.
    /// - Throws: `decodingFailed` with column, type and row, and what ``execute(_:rows:)`` throws.
    public func query<T: Decodable>(_ sql: SQL, decoding type: T.Type) async throws -> [T] {
        try await result(of: sql)?.rows(of: node, decoding: type) ?? []
    }

    /// Runs a query and hands its rows to `body` as they arrive, for results that are too many to hold.
    ///
    /// Other calls on this branch wait until `body` returns; inside of it they are refused, since they would wait for themselves. A body that returns
    /// early leaves the connection usable: what is left is read and dropped.
    ///
    /// - Parameters:
    ///   - sql: one statement that returns rows.
    ///   - body: reads the rows.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws, and what ``execute(_:rows:)`` throws. Cancellation asks the server to stop, closes the connection and throws
    ///   `CancellationError`.
    @discardableResult
    public nonisolated(nonsending) func stream<V>(
        _ sql: SQL, _ body: nonisolated(nonsending) (RowSequence) async throws -> V
    ) async throws -> V {
        try await session.stream(try Statement(sql), body)
    }

    /// Runs COPY to the client and hands its bytes to `body` as they arrive.
    ///
    /// - Parameters:
    ///   - sql: `COPY ... TO STDOUT`, in whatever format; it takes no parameters.
    ///   - body: reads the bytes; each chunk holds whole rows.
    /// - Returns: what `body` returns.
    /// - Throws: `statementRefused` for another statement; what `body` throws, and what ``execute(_:rows:)`` throws. Cancellation asks the server to stop,
    ///   closes the connection and throws `CancellationError`.
    @discardableResult
    public nonisolated(nonsending) func copyOut<V>(
        _ sql: SQL, _ body: nonisolated(nonsending) (CopySequence) async throws -> V
    ) async throws -> V {
        try await session.copyOut(try Statement(sql, isPrepared: false), body)
    }

    /// Runs COPY from the client with the bytes of a sequence, wherever its chunks end.
    ///
    /// ```swift
    /// let rows = try await tx["bankA"].copyIn("COPY account FROM STDIN (FORMAT csv)", from: file.bytesInChunks)
    /// ```
    ///
    /// - Parameters:
    ///   - sql: `COPY ... FROM STDIN`, in whatever format; it takes no parameters.
    ///   - source: the bytes. It is read no faster than the server takes them.
    /// - Returns: how many rows there were.
    /// - Throws: `statementRefused` for another statement; the source's own error, which keeps no row of it; what ``execute(_:rows:)`` throws.
    @discardableResult
    public nonisolated(nonsending) func copyIn<Source: AsyncSequence>(_ sql: SQL, from source: Source) async throws -> Int
    where Source.Element: Collection<UInt8> {
        try await session.copyIn(try Statement(sql, isPrepared: false), source)
    }

    /// Runs several statements in one round trip.
    ///
    /// - Parameter statements: the statements, in order; the first that fails ends the pipeline.
    /// - Returns: how many rows each touched.
    /// - Throws: what ``execute(_:rows:)`` throws.
    @discardableResult
    public func pipeline(_ statements: [SQL]) async throws -> [Int] {
        try await session.run(try statements.map { try Statement($0) }).map(\.affectedRows)
    }

    /// Runs a part of the branch that can be undone on its own: when `body` throws, what it did on this node is rolled back, and the
    /// transaction can go on.
    ///
    /// - Parameter body: the part; what it throws is thrown on.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws, or the failure of the savepoint itself.
    @discardableResult
    public nonisolated(nonsending) func savepoint<V>(_ body: nonisolated(nonsending) (Branch) async throws -> V) async throws -> V {
        let session = try session
        let name = try await session.beginSavepoint()
        do {
            let value = try await body(self)
            try await session.release(savepoint: name)
            return value
        } catch {
            try await session.rollBack(to: name)
            throw error
        }
    }
}
