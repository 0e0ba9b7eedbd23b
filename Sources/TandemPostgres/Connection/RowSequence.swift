/// The rows of a statement as they arrive, each once and in order.
///
/// About a thousand rows wait for their reader, at most; the server is slowed down meanwhile, so memory stays flat however many rows there are. It belongs to the
/// body that it is handed to, and has one reader.
///
/// ```swift
/// try await tx["bankA"].stream("SELECT id, balance FROM account") { rows in
///     for try await row in rows {
///         let (id, balance) = try row.decode(as: Int64.self, Decimal.self)
///     }
/// }
/// ```
public struct RowSequence: AsyncSequence, Sendable {
    private let rows: RowStream
    private let reactor: Reactor
    private let describe: @Sendable (any Error) -> any Error

    /// - Parameters:
    ///   - rows: Where the connection puts the rows.
    ///   - reactor: The connection's reactor.
    ///   - describe: Says what an error of the server or the connection means to the reader.
    package init(_ rows: RowStream, on reactor: Reactor, describe: @escaping @Sendable (any Error) -> any Error) {
        self.rows = rows
        self.reactor = reactor
        self.describe = describe
    }

    /// Reads from the first row that nobody has read.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(sequence: self) }

    /// One reader.
    public struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let sequence: RowSequence
        private var count = 0
        /// Rows that have been taken and not handed out, the next one last.
        private var taken: [ResultSet] = []

        fileprivate init(sequence: RowSequence) { self.sequence = sequence }

        /// The next row, or `nil` after the last one.
        ///
        /// - Throws: `statementFailed` and its kin when the statement fails, at whatever row; `CancellationError` when the task is cancelled.
        public mutating func next() async throws -> ResultRow? {
            if taken.isEmpty {
                let reactor = sequence.reactor, rows = sequence.rows
                do {
                    let arrived = try await withCheckedThrowingContinuation { reader in reactor.execute { rows.next(reader) } }
                    taken = arrived.reversed()
                } catch {
                    throw sequence.describe(error)
                }
            }
            guard let result = taken.popLast() else { return nil }
            defer { count += 1 }
            return ResultRow(result, number: count)
        }
    }
}
