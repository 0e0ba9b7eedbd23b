/// The bytes of COPY to the client as they arrive, in the format that the statement asks for, each chunk of whole rows and in order.
///
/// At most a mebibyte waits for its reader; the server is slowed down meanwhile. It belongs to the body that it is handed to, and has one reader.
///
/// ```swift
/// try await tx["bankA"].copyOut("COPY account TO STDOUT (FORMAT csv)") { rows in
///     for try await bytes in rows { try file.write(contentsOf: bytes) }
/// }
/// ```
public struct CopySequence: AsyncSequence, Sendable {
    private let channel: CopyChannel
    private let reactor: Reactor
    private let describe: @Sendable (any Error) -> any Error

    /// - Parameters:
    ///   - channel: Where the connection puts the rows.
    ///   - reactor: The connection's reactor.
    ///   - describe: Says what an error of the server or the connection means to the reader.
    package init(_ channel: CopyChannel, on reactor: Reactor, describe: @escaping @Sendable (any Error) -> any Error) {
        self.channel = channel
        self.reactor = reactor
        self.describe = describe
    }

    /// Reads from the first chunk that nobody has read.
    public func makeAsyncIterator() -> AsyncIterator { AsyncIterator(sequence: self) }

    /// One reader.
    public struct AsyncIterator: AsyncIteratorProtocol {
        fileprivate let sequence: CopySequence

        /// The next chunk, or `nil` after the last one.
        ///
        /// - Throws: `statementFailed` and its kin when the statement fails, at whatever row; `CancellationError` when the task is cancelled.
        public mutating func next() async throws -> [UInt8]? {
            let reactor = sequence.reactor, channel = sequence.channel
            do {
                return try await withCheckedThrowingContinuation { reader in reactor.execute { channel.next(reader) } }
            } catch {
                throw sequence.describe(error)
            }
        }
    }
}

/// Hands bytes to COPY from the client, many rows at a time: a chunk of few bytes costs no message of its own. One task.
package final class CopyWriter {
    private let channel: CopyChannel
    private let reactor: Reactor
    private var buffer: [UInt8] = []

    package init(_ channel: CopyChannel, on reactor: Reactor) {
        self.channel = channel
        self.reactor = reactor
        buffer.reserveCapacity(2 * CopyChannel.chunk)
    }

    /// Adds bytes, and waits while the server does not take them.
    ///
    /// - Returns: whether the server still wants rows; if not, the statement's answer says why.
    nonisolated(nonsending) package func write(_ bytes: some Collection<UInt8>) async throws -> Bool {
        buffer.append(contentsOf: bytes)
        return buffer.count < CopyChannel.chunk ? true : try await send()
    }

    /// Sends what is left, and the end.
    nonisolated(nonsending) package func finish() async throws {
        if !buffer.isEmpty { _ = try await send() }
        let channel = channel
        reactor.execute { channel.end() }
    }

    /// Ends it so that no row of it is kept.
    package func refuse() {
        let channel = channel
        reactor.execute { channel.end(refusing: "the sender gave up") }
    }

    private nonisolated(nonsending) func send() async throws -> Bool {
        try Task.checkCancellation()
        let channel = channel, bytes = buffer
        buffer.removeAll(keepingCapacity: true)
        return await withCheckedContinuation { writer in reactor.execute { channel.write(bytes, writer) } }
    }
}
