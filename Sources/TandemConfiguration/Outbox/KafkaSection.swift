public import TandemCluster
import TandemCore

/// Where events go at a Kafka cluster, as a configuration says it.
///
/// ```yaml
/// kafka: {brokers: [kafka-1:9092, kafka-2:9092]}
/// kafka:
///   brokers: [kafka.example:9093]
///   topic: events
///   user: tandem
///   passwordEnv: KAFKA_PASSWORD
///   settings: {security.protocol: SASL_SSL, sasl.mechanism: SCRAM-SHA-512, ssl.ca.location: /etc/ssl/certs/kafka.pem}
/// ```
public struct KafkaSection: Sendable {
    /// Some brokers, `host:port` each.
    public let brokers: [String]
    /// The one topic of all events; `nil` for each event's own.
    public let topic: String?
    /// The name for SASL, which the settings have to ask for.
    public let user: String?
    /// Its password.
    public let password: Secret?
    /// Settings of librdkafka.
    public let settings: [(name: String, value: Secret)]

    init(_ place: LocatedNode, _ reader: ClusterReader) throws {
        let section = try place.section(["brokers", "topic", "user", "password", "passwordEnv", "passwordFile", "settings"])
        brokers = try section.required("brokers").list("a list of brokers").map { try $0.text("a broker") }
        guard !brokers.isEmpty else { throw place.error("there are no brokers", next: "write `brokers: [HOST:PORT]`") }
        topic = try section["topic"]?.text("a topic")
        user = try section["user"]?.text("a user")
        password = try reader.password(section)
        settings = try (section["settings"]?.entries("settings by name") ?? []).map { name, value in
            let isSecret = ["password", "secret", "key.pem"].contains { name.hasSuffix($0) }
            guard !isSecret || value.isSection else {
                throw value.error(
                    "\(name) does not stand in this file, where everybody reads it", next: "write `\(name): {env: NAME}` or `\(name): {file: PATH}`")
            }
            return (name, value.isSection ? try reader.secret(at: value, name, isText: name.hasSuffix(".pem")) : Secret(try value.text("a setting")))
        }
    }
}
