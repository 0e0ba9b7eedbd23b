import TandemCluster
import TandemConfiguration
import TandemCore
import TandemInbox
import TandemMessaging
import TandemOutbox
import TandemWebhook

#if Kafka
    import TandemKafka
#endif

#if RabbitMQ
    import TandemRabbitMQ
#endif

/// Makes the sinks that a configuration names.
enum EventSinks {
    /// A sink.
    ///
    /// - Parameters:
    ///   - kind: what the configuration says of it.
    ///   - cluster: whose events it gets.
    /// - Returns: the sink, which connects when it has something to deliver.
    /// - Throws: `configurationInvalid`.
    static func sink(_ kind: OutboxSection.Sink.Kind, _ cluster: Cluster) throws -> any Sink {
        switch kind {
        case .postgres(let node, let queue): InboxSink(cluster, on: node, queue: queue)
        case .kafka(let section): try sink(section)
        case .rabbitMQ(let section): try sink(section)
        case .webhook(let section): try sink(section)
        case .lines: TandemMessaging.LineSink { try await StandardOutput.write($0) }
        }
    }

    private static func sink(_ section: KafkaSection) throws -> any Sink {
        #if Kafka
            var kafka = KafkaConfiguration(brokers: section.brokers)
            if let topic = section.topic { kafka.topic = .fixed(topic) }
            for setting in section.settings { kafka.settings[setting.name] = setting.value.value }
            if let user = section.user { kafka.settings["sasl.username"] = user }
            if let password = section.password { kafka.settings["sasl.password"] = password.value }
            return try KafkaSink(kafka)
        #else
            throw missing("Kafka")
        #endif
    }

    private static func sink(_ section: RabbitMQSection) throws -> any Sink {
        #if RabbitMQ
            var broker = RabbitMQConfiguration()
            (broker.host, broker.port, broker.virtualHost, broker.user, broker.exchange) = (
                section.host, section.port, section.virtualHost, section.user, section.exchange
            )
            if let password = section.password { broker.password = password.value }
            if section.isEncrypted { broker.tls = section.certificates.map { .init(certificates: $0) } ?? .init() }
            switch section.routing {
            case .topic: broker.routing = .topic
            case .key: broker.routing = .key
            case .queue(let name): broker.routing = .fixed(name)
            }
            return RabbitMQSink(broker)
        #else
            throw missing("RabbitMQ")
        #endif
    }

    private static func sink(_ section: WebhookSection) throws -> any Sink {
        var webhook = WebhookConfiguration(section.url)
        switch section.form {
        case .binary: webhook.form = .binary
        case .structured: webhook.form = .structured
        }
        webhook.headers = section.headers.map { Event.Header($0.name, $0.value.value) }
        webhook.secrets = try section.secrets.map { try WebhookSignature.Secret($0.value) }
        if let timeout = section.timeout { webhook.timeout = timeout }
        if let concurrency = section.concurrency { webhook.concurrency = concurrency }
        webhook.refusals = Set(section.refusals)
        webhook.certificates = section.certificates
        return try WebhookSink(webhook)
    }

    #if !Kafka || !RabbitMQ
        private static func missing(_ trait: String) -> TandemError {
            TandemError(
                .configurationInvalid, "this program was built without \(trait)", nextStep: "build it with the trait \(trait), which is on by default")
        }
    #endif
}
