import Testing

@testable import TandemTestKit

@Suite("Messages of the protocol")
struct MessageReaderTests {
    private static func message(_ type: Character?, _ body: [UInt8]) -> [UInt8] {
        let length = UInt32(body.count + 4)
        return (type.map { [$0.asciiValue ?? 0] } ?? []) + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) } + body
    }

    private static func text(_ texts: String...) -> [UInt8] { texts.flatMap { Array($0.utf8) + [0] } }

    private static let startup = message(nil, [0, 3, 0, 0] + text("user", "x") + [0])
    private static let encryption = message(nil, [4, 210, 22, 47])

    @Test("come out whole, however the bytes are parted", arguments: 1...40)
    func parts(size: Int) throws {
        let bytes = Self.encryption + Self.startup + Self.message("Q", Self.text("SELECT 1")) + Self.message("S", []) + Self.message("X", [])
        var reader = MessageReader(isStarting: true)
        var types: [UInt8] = [], all: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: size) {
            reader.append(bytes[start..<min(start + size, bytes.count)])
            while let message = try reader.next() {
                types.append(message.type)
                all += message.bytes
            }
        }
        #expect(all == bytes && reader.rest.isEmpty)
        #expect(types == [0, 0, UInt8(ascii: "Q"), UInt8(ascii: "S"), UInt8(ascii: "X")])
    }

    @Test("what is no message of PostgreSQL is an error, not a wait")
    func malformed() {
        var reader = MessageReader(isStarting: false)
        reader.append([0x16, 0xff, 0xff, 0xff, 0xff, 0])
        #expect(throws: MessageReader.Malformed.self) { try reader.next() }
    }

    @Test("a statement is known by its text, by the name under which it was prepared, and by its tag")
    func conversation() throws {
        func read(_ bytes: [UInt8]) throws -> MessageReader.Message {
            var reader = MessageReader(isStarting: false)
            reader.append(bytes)
            return try #require(try reader.next())
        }
        var conversation = Conversation()
        #expect(conversation.hear(request: try read(Self.message("Q", Self.text("COMMIT")))) == .execute("COMMIT"))
        #expect(conversation.hear(request: try read(Self.message("P", Self.text("s1", "SELECT $1") + [0, 0]))) == .parse("SELECT $1"))
        #expect(conversation.hear(request: try read(Self.message("P", Self.text("", "SELECT 2") + [0, 0]))) == .parse("SELECT 2"))
        #expect(conversation.hear(request: try read(Self.message("B", Self.text("", "s1") + [0, 0, 0, 0, 0, 0]))) == .execute("SELECT $1"))
        #expect(conversation.hear(request: try read(Self.message("B", Self.text("", "") + [0, 0, 0, 0, 0, 0]))) == .execute("SELECT 2"))
        #expect(conversation.hear(request: try read(Self.message("B", Self.text("", "s9") + [0, 0, 0, 0, 0, 0]))) == .other)
        #expect(conversation.hear(request: try read(Self.message("S", []))) == .other)
        #expect(conversation.hear(reply: try read(Self.message("C", Self.text("UPDATE 1")))) == .complete("UPDATE 1"))
        #expect(conversation.hear(reply: try read(Self.message("Z", [73]))) == .other)
    }
}
