import TandemCore
public import TandemMessaging

/// Which service is told of events by HTTP, and how.
public struct WebhookConfiguration: Sendable, CustomStringConvertible {
    /// How an event stands in a request: a mode of the
    /// [HTTP binding of CloudEvents](https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/bindings/http-protocol-binding.md).
    public enum Form: Sendable, Hashable {
        /// The payload is the body, with its content type; the attributes are headers `ce-NAME`, and the event's headers are headers `tandem-header-NAME`.
        case binary
        /// The body is JSON with all that the event has.
        case structured
    }

    /// Where requests are sent: `https://` or `http://`, without a user. Errors name it without its path, which is a secret with some services.
    public var url: String
    /// How an event stands in a request.
    public var form = Form.binary
    /// What each request says beside the event, such as `Authorization`. None may have a name of the event's own: `ce-` and so on.
    public var headers: [Event.Header] = []
    /// The keys that each request is signed with: the new one and the old one, until the receiver has changed. None: requests are not signed.
    public var secrets: [WebhookSignature.Secret] = []
    /// How long an answer may take.
    public var timeout: Duration = .seconds(10)
    /// The most requests that are under way at a time.
    public var concurrency = 8
    /// Statuses from 400 on that refuse the one event, beside those that do anyway (see ``WebhookSink``). 500, where the service answers so to an event that it
    /// cannot take: otherwise all events wait for that one.
    public var refusals: Set<Int> = []
    /// The most bytes of an answer's body that are read; a longer one costs the connection. Nothing in it counts.
    public var responseLimit = 4096
    /// A file of certificates in PEM, beside those of the system, that the service's may be signed by.
    public var certificates: String?

    /// The service at an address, with defaults.
    ///
    /// - Parameter url: where requests are sent.
    public init(_ url: String) { self.url = url }

    /// Where it is, without user, path, query, headers and secrets.
    public var description: String { Self.origin(of: url) ?? "the service" }

    /// A URL without what may be secret: its user, its path, its query and its fragment.
    ///
    /// - Parameter url: a URL.
    /// - Returns: its scheme, host and port; `nil` where it is no absolute one.
    static func origin(of url: String) -> String? {
        let parts = Self.parts(of: url)
        guard parts.count > 2, parts[0].hasSuffix(":"), parts[1].isEmpty else { return nil }
        let host = parts[2].lastIndex(of: "@").map { parts[2][parts[2].index(after: $0)...] } ?? parts[2]
        return "\(parts[0])//\(host.prefix(200))"
    }

    /// Scheme with its colon, nothing, authority and path: what stands between the first slashes, up to a query or a fragment.
    private static func parts(of url: String) -> [Substring] {
        url.prefix { $0 != "?" && $0 != "#" }.split(separator: "/", maxSplits: 3, omittingEmptySubsequences: false)
    }
}

extension WebhookConfiguration {
    /// What the names of an event's headers get in front of them. Whatever they are, they are none that means something to HTTP, to a proxy or to this library.
    static let headerPrefix = "tandem-header-"

    /// Headers that the sink writes itself, and those that would change how a request is read.
    private static let reserved: Set<String> = [
        "connection", "content-length", "content-type", "expect", "host", "idempotency-key", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade",
    ]
    private static let reservedPrefixes = ["ce-", "webhook-", headerPrefix]

    /// Whether a text can be the name of a header: a token of RFC 9110.
    static func isToken(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"): true
                default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
                }
            }
    }

    /// Whether a text can be the value of a header as it is: visible ASCII, spaces and tabs.
    static func isFieldValue(_ text: String) -> Bool { text.utf8.allSatisfy { (0x20..<0x7F).contains($0) || $0 == 0x09 } }

    /// Finds what no request could be made of.
    ///
    /// - Throws: `configurationInvalid`, without the address and without values: they may be secret.
    func check() throws {
        func error(_ problem: String, _ next: String) -> TandemError { TandemError(.configurationInvalid, "a webhook's \(problem)", nextStep: next) }
        let parts = Self.parts(of: url)
        guard url.utf8.allSatisfy({ (0x21..<0x7F).contains($0) }), parts.count > 2, ["http:", "https:"].contains(parts[0].lowercased()), parts[1].isEmpty,
            !parts[2].isEmpty
        else { throw error("address is none", "write one that begins with https:// or http://, percent-encoded where it has other characters") }
        guard !parts[2].contains("@") else { throw error("address has a user, which would not be sent", "give a header Authorization instead") }
        for header in headers {
            let name = header.name.lowercased()
            guard Self.isToken(name) else { throw error("header `\(header.name)` has a name that is none", "take letters, digits and `-`") }
            guard !Self.reserved.contains(name), !Self.reservedPrefixes.contains(where: { name.hasPrefix($0) }) else {
                throw error("header `\(header.name)` is written by the sink itself", "leave it out")
            }
            guard Self.isFieldValue(header.value) else { throw error("header `\(header.name)` has a value that is none", "take visible ASCII on one line") }
        }
        guard timeout > .zero, concurrency > 0 else { throw error("times and numbers have to be above zero", "see timeout and concurrency") }
    }
}
