/// Parts a stream of bytes into messages of PostgreSQL's protocol, version 3.
///
/// Source: PostgreSQL documentation, "Frontend/Backend Protocol", "Message Formats".
struct MessageReader {
    /// One message: its type, 0 for those at the start of a connection that have none, and all of its bytes.
    struct Message: Equatable {
        let type: UInt8
        let bytes: [UInt8]

        /// What follows type and length.
        var body: ArraySlice<UInt8> { bytes.dropFirst(type == 0 ? 4 : 5) }
    }

    /// Nothing that a server or a client sends is longer.
    private static let longest = 1 << 30

    private var buffer: [UInt8] = []
    private var position = 0
    /// Whether the next message has no type: the client's first ones.
    private var isStarting: Bool

    /// - Parameter isStarting: Whether the stream is a client's, whose first message has no type.
    init(isStarting: Bool) { self.isStarting = isStarting }

    /// Bytes that are no whole message yet.
    var rest: [UInt8] { Array(buffer[position...]) }

    mutating func append(_ bytes: some Collection<UInt8>) { buffer.append(contentsOf: bytes) }

    /// The next whole message; nil where there is none yet.
    ///
    /// - Throws: ``Malformed`` where the bytes are none: the stream is encrypted, or not PostgreSQL's.
    mutating func next() throws(Malformed) -> Message? {
        let head = isStarting ? 0 : 1
        guard buffer.count - position >= head + 4 else { return nil }
        let start = position + head
        let length = buffer[start..<(start + 4)].reduce(0) { $0 << 8 | Int($1) }
        guard length >= 4, length <= Self.longest else { throw Malformed() }
        guard buffer.count - position >= head + length else { return nil }
        let message = Message(type: isStarting ? 0 : buffer[position], bytes: Array(buffer[position..<(position + head + length)]))
        position += head + length
        if position == buffer.count || position > 1 << 16 {
            buffer.removeFirst(position)
            position = 0
        }
        if isStarting, !message.isRequestForEncryption { isStarting = false }
        return message
    }

    struct Malformed: Error {}
}

extension MessageReader.Message {
    /// The code of a message at the start.
    private var code: Int { body.prefix(4).reduce(0) { $0 << 8 | Int($1) } }

    /// SSLRequest and GSSENCRequest, which one byte answers and another start follows.
    var isRequestForEncryption: Bool { type == 0 && bytes.count == 8 && (code == 80_877_103 || code == 80_877_104) }

    /// The strings at the beginning of the body, each of which ends with a zero.
    func texts(_ count: Int) -> [String]? {
        let parts = body.split(separator: 0, maxSplits: count, omittingEmptySubsequences: false)
        guard parts.count > count else { return nil }
        return parts.prefix(count).map { String(decoding: $0, as: UTF8.self) }
    }
}
