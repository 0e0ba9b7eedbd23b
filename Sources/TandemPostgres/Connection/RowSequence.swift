/// The rows of a statement as they arrive, each once and in order.
///
/// About a thousand rows or a mebibyte wait for their reader, at most; the server is slowed down meanwhile, so memory stays flat however many rows there are. It belongs to the
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
        /// Rows that have been taken, and the next of them that is to be handed out.
        @usableFromInline var block: RowBlock?
        @usableFromInline var position = 0

        fileprivate init(sequence: RowSequence) { self.sequence = sequence }

        /// The next row, or `nil` after the last one.
        ///
        /// - Parameter actor: Where the reader runs; most rows are there already and are handed out without leaving it.
        /// - Returns: The row, or `nil`.
        /// - Throws: `statementFailed` and its kin when the statement fails, at whatever row; `CancellationError` when the task is cancelled.
        @inlinable
        public mutating func next(isolation actor: isolated (any Actor)?) async throws -> ResultRow? {
            if let block, position < block.rowCount {
                defer { position += 1 }
                return ResultRow(block, number: position)
            }
            return try await first(actor)
        }

        /// The next row, or `nil` after the last one.
        ///
        /// - Returns: The row, or `nil`.
        /// - Throws: `statementFailed` and its kin when the statement fails, at whatever row; `CancellationError` when the task is cancelled.
        public mutating func next() async throws -> ResultRow? { try await next(isolation: #isolation) }

        /// The first row of those that arrive next.
        @usableFromInline
        mutating func first(_ actor: isolated (any Actor)?) async throws -> ResultRow? {
            let reactor = sequence.reactor, rows = sequence.rows
            do {
                block = try await withCheckedThrowingContinuation(isolation: actor) { reader in reactor.execute { rows.next(reader) } }
            } catch {
                throw sequence.describe(error)
            }
            position = 1
            return block.map { ResultRow($0, number: 0) }
        }
    }
}
