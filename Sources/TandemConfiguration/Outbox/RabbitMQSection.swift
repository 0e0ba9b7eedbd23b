public import TandemCluster
import TandemCore

/// Where events go at a RabbitMQ broker, as a configuration says it.
///
/// ```yaml
/// rabbitmq: {host: mq.example, user: events, passwordEnv: MQ_PASSWORD, tls: true, exchange: events, routing: topic}
/// rabbitmq: {queue: orders}
/// ```
public struct RabbitMQSection: Sendable {
    /// What a message's routing key is.
    public enum Routing: Sendable {
        /// The event's topic.
        case topic
        /// The event's key.
        case key
        /// One queue, behind the default exchange.
        case queue(String)
    }

    /// The broker's host.
    public let host: String
    /// Its port.
    public let port: Int
    /// The virtual host.
    public let virtualHost: String
    /// Whom to log in as.
    public let user: String
    /// The user's password.
    public let password: Secret?
    /// Whether TLS is spoken.
    public let isEncrypted: Bool
    /// The file of the certificates that the broker's is checked against; that of the system by default.
    public let certificates: String?
    /// The exchange.
    public let exchange: String
    /// What a message's routing key is.
    public let routing: Routing

    init(_ place: LocatedNode, _ reader: ClusterReader) throws {
        let section = try place.section(
            ["host", "port", "vhost", "user", "password", "passwordEnv", "passwordFile", "tls", "certificates", "exchange", "routing", "queue"])
        host = try section["host"]?.text("a host") ?? "127.0.0.1"
        isEncrypted = try section["tls"]?.choice([("true", true), ("false", false)]) ?? false
        port = try section["port"]?.integer(in: 1...65_535) ?? (isEncrypted ? 5671 : 5672)
        virtualHost = try section["vhost"]?.text("a virtual host") ?? "/"
        user = try section["user"]?.text("a user") ?? "guest"
        password = try reader.password(section)
        certificates = try section["certificates"].map { reader.absolute(try $0.text("a file")) }
        if let place = section["certificates"], !isEncrypted { throw place.error("certificates without TLS", next: "write `tls: true`, too") }
        exchange = try section["exchange"]?.text("an exchange") ?? ""
        if let queue = section["queue"] {
            if section["exchange"] != nil || section["routing"] != nil {
                throw queue.error("a queue is reached by the default exchange", next: "leave exchange and routing out, or the queue")
            }
            routing = .queue(try queue.text("a queue"))
        } else if section["exchange"] == nil {
            throw place.error("it is not said where events go there", next: "write `exchange: NAME` or `queue: NAME`")
        } else {
            routing = try section["routing"]?.choice([("topic", Routing.topic), ("key", .key)]) ?? .topic
        }
    }
}
