public import TandemCore
public import TandemPostgres

/// A transaction as data: what to run where. All its statements are known before it starts, so it needs fewer messages than a body that sends
/// one after the other.
public struct TransactionRequest: Sendable {
    /// One statement on one node.
    public struct Operation: Sendable {
        /// The node's name.
        public var node: NodeName
        /// The statement and its parameters.
        public var sql: SQL
        /// How many rows it must touch; any number by default.
        public var expectedRows: ClosedRange<Int>?

        /// A statement on a node.
        ///
        /// - Parameters:
        ///   - node: the node's name.
        ///   - sql: one statement; interpolated values are bound, never spliced.
        ///   - expectedRows: how many rows it must touch; any number by default.
        public init(_ node: NodeName, _ sql: SQL, expectedRows: ClosedRange<Int>? = nil) {
            self.node = node
            self.sql = sql
            self.expectedRows = expectedRows
        }
    }

    /// The statements. Those of one node run in this order; nodes are locked in the cluster's one order of nodes, whatever the order here.
    public var operations: [Operation]
    /// How the transaction runs; its `nodes` are those of the operations.
    public var options: TransactionOptions
    /// Makes what is run last on the commit point out of the results of everything else; it travels with the decision.
    package var conclusion: (@Sendable ([OperationResult]) throws -> [SQL])?

    /// A transaction as data.
    ///
    /// - Parameters:
    ///   - operations: the statements.
    ///   - options: how the transaction runs.
    public init(_ operations: [Operation], options: TransactionOptions = TransactionOptions()) {
        self.operations = operations
        self.options = options
    }
}

/// What one operation of a ``TransactionRequest`` brought.
public struct OperationResult: Sendable {
    /// The node's name.
    public let node: NodeName
    /// How many rows the statement touched or returned.
    public let rows: Int
    /// The names and types of the columns that it returned.
    public let columns: [(name: String, type: PostgresType)]
    /// The returned values as the server writes them; `nil` for NULL.
    public let values: [[String?]]

    init(_ node: NodeName, _ result: ResultSet) {
        self.node = node
        rows = result.affectedRows
        let shape = result.shape
        columns = Array(zip(shape.names, shape.types))
        values = (0..<result.rowCount).map { row in shape.names.indices.map { result.text(row, $0) } }
    }
}
