/// What a request is known by: a key that its sender has chosen, in a scope of yours.
public struct IdempotencyKey: Sendable, Hashable {
    /// Whose keys these are: a tenant and an operation, such as `shop-7/POST /payments`. Keys of other scopes are others.
    public let scope: String
    /// What the sender calls the request; not empty. Both together have at most 1,024 bytes.
    public let key: String

    /// A key.
    ///
    /// - Parameters:
    ///   - scope: whose keys these are.
    ///   - key: what the sender calls the request.
    public init(scope: String, key: String) {
        self.scope = scope
        self.key = key
    }
}

/// What a request holds, so that the same key with another request is refused: its parts go to the server, which hashes them (SHA-256).
public struct RequestFingerprint: Sendable, Hashable {
    let parts: [[UInt8]]

    /// A fingerprint.
    ///
    /// - Parameter parts: method, path, the headers that matter, the body. Where a part ends counts, too.
    public init(_ parts: [[UInt8]]) { self.parts = parts }

    /// A fingerprint of texts.
    ///
    /// - Parameter parts: what the request holds.
    public init(_ parts: String...) { self.parts = parts.map { Array($0.utf8) } }
}

/// What a request is answered with, as it is stored and given again byte for byte.
public struct StoredResponse: Sendable, Hashable {
    /// A header.
    public struct Header: Sendable, Hashable, Codable {
        /// Its name.
        public let name: String
        /// Its value.
        public let value: String

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

    /// The status, as of HTTP.
    public var status: Int
    /// The headers in their order; as JSON at most 64 KiB.
    public var headers: [Header]
    /// The bytes; at most 1 MiB.
    public var body: [UInt8]

    /// A response.
    ///
    /// - Parameters:
    ///   - status: the status.
    ///   - headers: the headers.
    ///   - body: the bytes.
    public init(status: Int, headers: [Header] = [], body: [UInt8] = []) {
        self.status = status
        self.headers = headers
        self.body = body
    }
}

/// What became of a request with a key.
public enum IdempotentOutcome: Sendable, Hashable {
    /// It was done now.
    case first(StoredResponse)
    /// It was done before, and this is what was answered then.
    case replayed(StoredResponse)
    /// It is being done: ask again after a time.
    case inProgress(retryAfter: Duration)

    /// The response, where there is one.
    public var response: StoredResponse? {
        switch self {
        case .first(let response), .replayed(let response): response
        case .inProgress: nil
        }
    }
}
