public import TandemCluster
public import TandemCore
public import TandemPostgres

/// One node on its own, for work that is no global transaction: see ``TandemCluster/Cluster``'s subscript.
///
/// Its statements take a place and a connection of the cluster's pools, as transactions do, and queue behind them.
///
/// ```swift
/// let names = try await cluster[.bankA].query("SELECT id, owner FROM account ORDER BY id", as: Int64.self, String.self)
/// try await cluster[.bankA].transaction { branch in
///     try await branch.execute("UPDATE account SET owner = \(owner) WHERE id = \(id)", rows: 1...1)
///     try await branch.execute("INSERT INTO audit (account, owner) VALUES (\(id), \(owner))")
/// }
/// ```
public struct Node: Sendable {
    let cluster: Cluster
    /// The node's name.
    public let name: NodeName

    /// How long a statement may take that has no limit of its own, waiting in line included.
    public static let patience = Duration.seconds(30)

    // MARK: Single statements

    /// Runs a statement, which commits on its own.
    ///
    /// With `rows` it runs in a transaction of its own, so that a violated expectation leaves nothing. Without, it is one message, and may also be what
    /// no transaction can hold, `VACUUM` or `CREATE INDEX CONCURRENTLY`.
    ///
    /// - Parameters:
    ///   - sql: one statement; interpolated values are bound, never spliced.
    ///   - rows: how many rows it must touch; any number by default.
    ///   - timeout: how long everything may take.
    /// - Returns: the number in the statement's command tag; 0 for statements without one.
    /// - Throws: `statementFailed` and its kin: nothing happened, where the error's effect says so: of what commits in steps (CALL, DO, VACUUM,
    ///   CONCURRENTLY) some may stay, which is in doubt; `expectationViolated`; `inDoubt` when the statement was sent and its answer was lost,
    ///   and nobody can tell whether it committed. Cancellation asks the server to stop and waits for its answer: `CancellationError` says that
    ///   nothing happened.
    @discardableResult
    public func execute(_ sql: SQL, rows: ClosedRange<Int>? = nil, timeout: Duration = Node.patience) async throws -> Int {
        guard let rows else { return try await run(sql, timeout)?.affectedRows ?? 0 }
        var options = TransactionOptions()
        options.timeout = timeout
        return try await transaction(options) { try await $0.execute(sql, rows: rows) }
    }

    /// Runs a query and returns its rows as tuples.
    ///
    /// - Parameters:
    ///   - sql: one statement that returns rows.
    ///   - types: the type of each column.
    ///   - timeout: how long everything may take.
    /// - Returns: the rows, in order.
    /// - Throws: `decodingFailed` with column, type and row; `tooManyRows`; what ``execute(_:rows:timeout:)`` throws. A lost answer is `inDoubt` here,
    ///   too, since a query may call functions that write: a read that is safe to repeat runs in a transaction with `isReadOnly`.
    @inlinable
    public func query<each C: PostgresDecodable>(
        _ sql: SQL, as types: repeat (each C).Type, timeout: Duration = Node.patience
    ) async throws -> [(repeat each C)] {
        try await run(sql, timeout)?.rows(of: name, as: repeat each types) ?? []
    }

    /// Runs a query of one column and returns its values.
    ///
    /// - Parameters:
    ///   - sql: one statement that returns rows of one column.
    ///   - type: the column's type.
    ///   - timeout: how long everything may take.
    /// - Returns: the values, in order.
    /// - Throws: as the function for several columns does.
    @inlinable
    public func query<Column: PostgresDecodable>(_ sql: SQL, as type: Column.Type, timeout: Duration = Node.patience) async throws -> [Column] {
        try await run(sql, timeout)?.rows(of: name, as: type) ?? []
    }

    /// Runs a query and returns its rows as values of a `Decodable` type, by column name.
    ///
    /// - Parameters:
    ///   - sql: one statement that returns rows.
    ///   - type: the type of each row; its keys are column names, as they are or in snake case.
    ///   - timeout: how long everything may take.
    /// - Returns: the rows, in order.
    /// - Throws: what `query(_:as:timeout:)` throws.
    public func query<T: Decodable>(_ sql: SQL, decoding type: T.Type, timeout: Duration = Node.patience) async throws -> [T] {
        try await run(sql, timeout)?.rows(of: name, decoding: type) ?? []
    }

    // MARK: Transactions

    /// Runs a query and hands its rows to `body` as they arrive, in a transaction of its own that commits when `body` returns.
    ///
    /// - Parameters:
    ///   - sql: one statement that returns rows.
    ///   - timeout: how long everything may take, `body` included.
    ///   - body: reads the rows.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws, and what ``transaction(_:isRecorded:file:line:_:)`` throws.
    @discardableResult
    public nonisolated(nonsending) func stream<V>(
        _ sql: SQL, timeout: Duration = Node.patience, _ body: nonisolated(nonsending) (RowSequence) async throws -> V
    ) async throws -> V {
        var options = TransactionOptions()
        options.timeout = timeout
        return try await transaction(options) { try await $0.stream(sql, body) }
    }

    /// Runs COPY to the client and hands its bytes to `body` as they arrive, in a transaction of its own.
    ///
    /// - Parameters:
    ///   - sql: `COPY ... TO STDOUT`, in whatever format; it takes no parameters.
    ///   - timeout: how long everything may take, `body` included.
    ///   - body: reads the bytes; each chunk holds whole rows.
    /// - Returns: what `body` returns.
    /// - Throws: what `body` throws, and what ``transaction(_:isRecorded:file:line:_:)`` throws.
    @discardableResult
    public nonisolated(nonsending) func copyOut<V>(
        _ sql: SQL, timeout: Duration = Node.patience, _ body: nonisolated(nonsending) (CopySequence) async throws -> V
    ) async throws -> V {
        var options = TransactionOptions()
        options.timeout = timeout
        return try await transaction(options) { try await $0.copyOut(sql, body) }
    }

    /// Runs COPY from the client with the bytes of a sequence, in a transaction of its own.
    ///
    /// - Parameters:
    ///   - sql: `COPY ... FROM STDIN`, in whatever format; it takes no parameters.
    ///   - source: the bytes, wherever its chunks end.
    ///   - timeout: how long everything may take.
    /// - Returns: how many rows there were.
    /// - Throws: the source's own error, which keeps no row of it; what ``transaction(_:isRecorded:file:line:_:)`` throws.
    @discardableResult
    public nonisolated(nonsending) func copyIn<Source: AsyncSequence>(
        _ sql: SQL, from source: Source, timeout: Duration = Node.patience
    ) async throws -> Int where Source.Element: Collection<UInt8> {
        var options = TransactionOptions()
        options.timeout = timeout
        return try await transaction(options) { try await $0.copyIn(sql, from: source) }
    }

    /// Runs `body` as one transaction on this node.
    ///
    /// Its commit is an ordinary `COMMIT`. When its answer is lost nobody can tell what became of it, unless it is recorded: then the commit carries a row
    /// of the register, which is asked, and `outcome(of:)` knows the transaction like a global one.
    ///
    /// - Parameters:
    ///   - options: id, isolation, timeout, attempts; `nodes` and `acknowledgement` mean nothing here.
    ///   - isRecorded: whether the register gets a row, one small insert more. An id of the caller's own always gets one.
    ///   - file: the caller's file, for a warning about code that blocks.
    ///   - line: the caller's line.
    ///   - body: what to do; it runs where the body of `Cluster.transaction` runs.
    /// - Returns: what `body` returns, once the commit is durable.
    /// - Throws: as `Cluster.transaction` does; `inDoubt` when the answer to the commit was lost and no row could be asked.
    @discardableResult
    public nonisolated(nonsending) func transaction<V>(
        _ options: TransactionOptions = TransactionOptions(), isRecorded: Bool = false, file: String = #fileID, line: Int = #line,
        _ body: nonisolated(nonsending) (Branch) async throws -> V
    ) async throws -> V {
        var options = options
        options.nodes = [name]
        options.isRecorded = isRecorded || options.id != nil
        let name = name
        return try await cluster.transaction(options, file: file, line: line) { try await body($0[name]) }.value
    }
}

extension Cluster {
    /// One node, for work that is no global transaction.
    ///
    /// - Parameter node: the node's name; one that the cluster does not have fails with the first statement.
    public subscript(_ node: NodeName) -> Node { Node(cluster: self, name: node) }
}
