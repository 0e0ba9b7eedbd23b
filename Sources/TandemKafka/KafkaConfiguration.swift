/// How a Kafka cluster is reached, and where events go there.
public struct KafkaConfiguration: Sendable, CustomStringConvertible {
    /// What an event's topic is at Kafka.
    public enum Topic: Sendable, Hashable {
        /// The event's own.
        case event
        /// Always this.
        case fixed(String)
    }

    /// Some brokers, `host:port` each; they tell of the others.
    public var brokers: [String]
    /// What an event's topic is.
    public var topic = Topic.event
    /// Settings of librdkafka, such as `security.protocol`, `sasl.mechanism`, `sasl.username`, `ssl.ca.location` and `compression.codec`, as its
    /// [list](https://github.com/confluentinc/librdkafka/blob/master/CONFIGURATION.md) has them. Those that a promise rests on are refused.
    public var settings: [String: String] = [:]
    /// How long the cluster may take to confirm anything, and so how long it is waited for.
    public var patience: Duration = .seconds(30)

    /// A cluster.
    ///
    /// - Parameter brokers: some brokers, `host:port` each.
    public init(brokers: [String]) { self.brokers = brokers }

    /// Where it is, without settings.
    public var description: String { brokers.joined(separator: ",") }
}
