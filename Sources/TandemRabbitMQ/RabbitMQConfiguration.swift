/// How a RabbitMQ broker is reached, and where events go there.
public struct RabbitMQConfiguration: Sendable, CustomStringConvertible {
    /// What a message's routing key is.
    public enum Routing: Sendable, Hashable {
        /// The event's topic.
        case topic
        /// The event's key; the empty text where it has none.
        case key
        /// Always this, as for one queue behind the default exchange.
        case fixed(String)
    }

    /// TLS with a broker.
    public struct TLS: Sendable {
        /// The file of the certificates that the broker's is checked against, in PEM. The broker has to show one of its name; an IP address in it is not matched.
        public var certificates: String

        /// TLS.
        ///
        /// - Parameter certificates: the file; that of the system by default.
        public init(certificates: String = "/etc/ssl/certs/ca-certificates.crt") { self.certificates = certificates }
    }

    /// The broker's host.
    public var host = "127.0.0.1"
    /// Its port; 5671 is usual with TLS.
    public var port = 5672
    /// The virtual host.
    public var virtualHost = "/"
    /// Whom to log in as.
    public var user = "guest"
    /// The user's password.
    public var password = "guest"
    /// TLS; `nil` for none.
    public var tls: TLS?
    /// The exchange, which has to be there; the empty text is the default exchange, whose routing key is a queue's name.
    public var exchange = ""
    /// What a message's routing key is.
    public var routing = Routing.topic
    /// The most messages that are under way at a time.
    public var window = 256
    /// How long the broker may take to connect, and to confirm anything.
    public var patience: Duration = .seconds(30)
    /// How often each side has to give a sign of life.
    public var heartbeat: Duration = .seconds(10)

    /// A broker on this machine, with its defaults.
    public init() {}

    /// Makes a quorum queue, the kind for what must not be lost: for measurements. Elsewhere queues are the business of whoever keeps the broker. It blocks.
    package func declare(queue: String) throws { try RabbitMQConnection(self, wake: -1).declare(queue) }

    /// Where it is, without the password.
    public var description: String { "\(tls == nil ? "amqp" : "amqps")://\(user)@\(host):\(port)\(virtualHost)" }
}
