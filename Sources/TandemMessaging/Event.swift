/// Something that happened, as it leaves the database in the transaction that made it happen.
public struct Event: Sendable, Hashable {
    /// One header. Names are compared as they are written.
    public struct Header: Sendable, Hashable {
        /// The header's name.
        public var name: String
        /// Its value.
        public var value: String

        /// A header.
        ///
        /// - Parameters:
        ///   - name: its name.
        ///   - value: its value.
        public init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }
    }

    /// The content type of JSON.
    public static let json = "application/json"

    /// A UUID in its ordinary text form, of version 7 unless its publisher chose another or it comes from a table of another outbox: whoever gets the event twice knows it by this.
    public var id: String
    /// What kind of event it is, and where it belongs: `order.created`.
    public var topic: String
    /// Whose event it is: those of one key keep their order. `nil` for one that has no order.
    public var key: String?
    /// What travels beside the payload.
    public var headers: [Header]
    /// What the payload is, as a media type.
    public var contentType: String
    /// The payload's bytes.
    public var payload: [UInt8]
    /// When it was published, as RFC 3339 in UTC, on the clock of its database.
    public var time: String

    /// An event.
    ///
    /// - Parameters:
    ///   - id: a UUID, best of version 7.
    ///   - topic: what kind of event it is.
    ///   - key: whose event it is.
    ///   - headers: what travels beside the payload.
    ///   - contentType: a media type.
    ///   - payload: the bytes.
    ///   - time: when it was published, as RFC 3339 in UTC.
    public init(id: String, topic: String, key: String?, headers: [Header] = [], contentType: String = Event.json, payload: [UInt8], time: String) {
        self.id = id
        self.topic = topic
        self.key = key
        self.headers = headers
        self.contentType = contentType
        self.payload = payload
        self.time = time
    }

    /// Whether the payload is JSON, as its content type says.
    public var isJSON: Bool {
        let type = contentType.prefix { $0 != ";" }.lowercased()
        return type == Event.json || type.hasSuffix("+json")
    }
}
