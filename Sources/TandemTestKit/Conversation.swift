/// What one connection has said, as far as it tells which statement a message belongs to. Pure: messages go in, events come out.
struct Conversation {
    /// What a message means.
    enum Event: Equatable {
        /// A statement is being sent to be parsed.
        case parse(String)
        /// A statement is being sent to be executed, as a text or by the name under which it was prepared.
        case execute(String)
        /// The server has completed a statement, with this tag.
        case complete(String)
        /// Anything else.
        case other
    }

    /// Prepared statements by name; the one without a name is the last that had none.
    private var statements: [String: String] = [:]

    /// Hears what the client says.
    mutating func hear(request message: MessageReader.Message) -> Event {
        switch message.type {
        case UInt8(ascii: "Q"):
            return message.texts(1).map { .execute($0[0]) } ?? .other
        case UInt8(ascii: "P"):
            guard let texts = message.texts(2) else { return .other }
            statements[texts[0]] = texts[1]
            return .parse(texts[1])
        case UInt8(ascii: "B"):
            // Portal, then statement.
            guard let text = message.texts(2).flatMap({ statements[$0[1]] }) else { return .other }
            return .execute(text)
        default: return .other
        }
    }

    /// Hears what the server says.
    func hear(reply message: MessageReader.Message) -> Event {
        guard message.type == UInt8(ascii: "C"), let texts = message.texts(1) else { return .other }
        return .complete(texts[0])
    }
}
