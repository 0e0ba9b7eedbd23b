public import TandemCluster
import TandemCore

/// Which service is told of events by HTTP, as a configuration says it.
///
/// ```yaml
/// webhook: {url: https://shop.example/events, secretEnv: SHOP_SECRET}
/// webhook:
///   url: https://shop.example/events
///   form: structured
///   headers:
///     Authorization: {env: SHOP_AUTHORIZATION}
///     X-Tenant: bank
///   secretFile: secrets/shop
///   timeout: 20s
///   concurrency: 16
///   refusals: [500]
/// ```
public struct WebhookSection: Sendable {
    /// How an event stands in a request.
    public enum Form: Sendable {
        /// The payload is the body, attributes are headers.
        case binary
        /// The body is JSON with all that the event has.
        case structured
    }

    /// Where requests are sent.
    public let url: String
    /// How an event stands in a request.
    public let form: Form
    /// What each request says beside the event.
    public let headers: [(name: String, value: Secret)]
    /// The keys that requests are signed with.
    public let secrets: [Secret]
    /// How long an answer may take; `nil` for the sink's default.
    public let timeout: Duration?
    /// The most requests that are under way at a time; `nil` for the sink's default.
    public let concurrency: Int?
    /// Statuses that refuse the one event, beside those that do anyway.
    public let refusals: [Int]
    /// A file of certificates that the service's may be signed by, beside those of the system.
    public let certificates: String?

    init(_ place: LocatedNode, _ reader: ClusterReader) throws {
        let section = try place.section(
            ["url", "form", "headers", "secret", "secretEnv", "secretFile", "timeout", "concurrency", "refusals", "certificates"])
        let address = try section.required("url"), text = try address.text("an address")
        guard ["https://", "http://"].contains(where: { text.lowercased().hasPrefix($0) }) else {
            throw address.error("it is no address of a web service", next: "write one that begins with https:// or http://")
        }
        url = text
        form = try section["form"]?.choice([("binary", Form.binary), ("structured", .structured)]) ?? .binary
        headers = try (section["headers"]?.entries("headers by name") ?? []).map { try Self.header($0.name, $0.value, reader) }
        // With spaces between them: the new one and the old one, until the receiver has changed.
        secrets = try (reader.secret(section, "secret")?.value.split(separator: " ") ?? []).map { Secret(String($0)) }
        if secrets.isEmpty, let place = ["secret", "secretEnv", "secretFile"].compactMap({ section[$0] }).first {
            throw place.error("the secret is empty", next: "make one by `echo \"whsec_$(openssl rand -base64 32)\"`")
        }
        timeout = try section["timeout"]?.duration()
        concurrency = try section["concurrency"]?.integer(in: 1...256)
        refusals = try (section["refusals"]?.list("a list of statuses") ?? []).map { try $0.integer(in: 400...599) }
        certificates = try section["certificates"].map { reader.absolute(try $0.text("a file")) }
        if let place = section["certificates"], text.lowercased().hasPrefix("http://") {
            throw place.error("certificates without TLS", next: "write an address that begins with https://, or leave them out")
        }
    }

    private static func header(_ name: String, _ place: LocatedNode, _ reader: ClusterReader) throws -> (name: String, value: Secret) {
        if place.isSection { return (name, try reader.secret(at: place, "value")) }
        guard name.lowercased() != "authorization" else {
            throw place.error(
                "a credential does not stand in this file, where everybody reads it", next: "write `\(name): {env: NAME}` or `\(name): {file: PATH}`")
        }
        return (name, Secret(try place.text("the value of a header")))
    }
}
