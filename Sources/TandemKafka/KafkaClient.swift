import CRDKafka
import TandemCore

/// A client of librdkafka, with the threads that it starts; used by one thread of ours.
final class KafkaClient {
    /// What it is for.
    enum Role {
        case producer(isGapless: Bool)
        case consumer(group: String)
    }

    /// What the promises of sink and consumer rest on.
    private static let reserved: Set = [
        "bootstrap.servers", "metadata.broker.list", "enable.idempotence", "acks", "request.required.acks", "message.timeout.ms", "delivery.timeout.ms",
        "retries", "message.send.max.retries", "partitioner", "enable.gapless.guarantee", "transactional.id", "group.id", "enable.auto.commit",
        "enable.auto.offset.store", "log.queue", "delivery.report.only.error",
    ]

    let pointer: OpaquePointer
    private let configuration: KafkaConfiguration

    /// Makes a client; it connects by itself.
    ///
    /// - Parameters:
    ///   - configuration: the cluster.
    ///   - role: what it is for.
    /// - Throws: `configurationInvalid`.
    init(_ configuration: KafkaConfiguration, as role: Role) throws {
        self.configuration = configuration
        var conf = try Self.conf(configuration, role)
        var text = [CChar](repeating: 0, count: 512)
        let kind: rd_kafka_type_t
        switch role {
        case .producer: kind = RD_KAFKA_PRODUCER
        case .consumer: kind = RD_KAFKA_CONSUMER
        }
        guard let pointer = rd_kafka_new(kind, conf, &text, text.count) else {
            rd_kafka_conf_destroy(conf)
            throw Self.invalid(configuration, Self.string(text))
        }
        // It belongs to the client now.
        conf = nil
        self.pointer = pointer
    }

    deinit { rd_kafka_destroy(pointer) }

    /// Whether librdkafka takes the settings.
    ///
    /// - Throws: `configurationInvalid`.
    static func check(_ configuration: KafkaConfiguration, as role: Role) throws { rd_kafka_conf_destroy(try conf(configuration, role)) }

    private static func conf(_ configuration: KafkaConfiguration, _ role: Role) throws -> OpaquePointer? {
        guard !configuration.brokers.isEmpty else { throw invalid(configuration, "there are no brokers") }
        if let name = configuration.settings.keys.sorted().first(where: { reserved.contains($0) }) {
            throw invalid(configuration, "the setting \(name) is not free: a promise rests on it, or it has a place of its own")
        }
        let conf = rd_kafka_conf_new()
        do {
            for (name, value) in settings(configuration, role) { try set(conf, name, value, configuration) }
            for (name, value) in configuration.settings.sorted(by: { $0.key < $1.key }) { try set(conf, name, value, configuration) }
        } catch {
            rd_kafka_conf_destroy(conf)
            throw error
        }
        // Errors come as events, and are told with what they lead to.
        rd_kafka_conf_set_log_cb(conf, nil)
        rd_kafka_conf_set_events(conf, RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR)
        return conf
    }

    private static func settings(_ configuration: KafkaConfiguration, _ role: Role) -> [(String, String)] {
        let common = [("bootstrap.servers", configuration.brokers.joined(separator: ",")), ("client.id", "tandem")]
        switch role {
        case .producer(let isGapless):
            // Messages never time out by themselves: one that did would let later ones of its key pass. The sink gives the client up instead.
            return common + [
                ("enable.idempotence", "true"), ("acks", "all"), ("message.timeout.ms", "0"), ("linger.ms", "1"), ("compression.codec", "lz4"),
                ("partitioner", "murmur2_random"),
                // Whatever a broker refuses stops the producer: messages behind it would overtake those that were refused with it.
                ("enable.gapless.guarantee", isGapless ? "true" : "false"),
            ]
        case .consumer(let group):
            // What is stored is committed; stored is what was handled.
            return common + [
                ("group.id", group), ("enable.auto.commit", "true"), ("auto.commit.interval.ms", "1000"), ("enable.auto.offset.store", "false"),
                ("auto.offset.reset", "earliest"), ("isolation.level", "read_committed"),
            ]
        }
    }

    private static func set(_ conf: OpaquePointer?, _ name: String, _ value: String, _ configuration: KafkaConfiguration) throws {
        var text = [CChar](repeating: 0, count: 512)
        guard rd_kafka_conf_set(conf, name, value, &text, text.count) == RD_KAFKA_CONF_OK else { throw invalid(configuration, string(text)) }
    }

    private static func string(_ text: [CChar]) -> String {
        String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func invalid(_ configuration: KafkaConfiguration, _ problem: String) -> TandemError {
        TandemError(.configurationInvalid, "Kafka at \(configuration): \(problem)", nextStep: "see librdkafka's CONFIGURATION.md")
    }

    /// The name and the meaning of an error.
    static func text(of error: rd_kafka_resp_err_t) -> String { "\(String(cString: rd_kafka_err2name(error))), \(String(cString: rd_kafka_err2str(error)))" }

    /// The error after which the client is of no more use; `nil` where there is none.
    var fatalError: (code: rd_kafka_resp_err_t, text: String)? {
        var text = [CChar](repeating: 0, count: 512)
        let code = rd_kafka_fatal_error(pointer, &text, text.count)
        return code == RD_KAFKA_RESP_ERR_NO_ERROR ? nil : (code, Self.string(text))
    }

    func unavailable(_ problem: String) -> TandemError {
        TandemError(.sinkUnavailable, "Kafka at \(configuration): \(problem)", nextStep: "see whether the brokers run and can be reached")
    }
}
