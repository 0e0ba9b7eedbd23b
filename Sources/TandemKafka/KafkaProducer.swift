import CRDKafka
import TandemCore
import TandemMessaging

/// One idempotent producer, used by one thread. After an error it is of no more use.
final class KafkaProducer {
    /// A broker has refused some messages, and what came behind them was stopped: nobody knows which message was meant.
    struct Gap: Error {}

    /// How often it is looked whether the batch is still wanted.
    private static let glance: Int32 = 1000
    /// How long a topic that nobody knows is asked for: brokers that make one at the first question know it a moment later.
    private static let creation = Duration.seconds(2)
    /// How often, in milliseconds.
    private static let question: Int32 = 50
    /// Topics that are remembered.
    private static let mostTopics = 10_000

    /// What became of a batch so far.
    private struct Flight {
        var verdicts: [DeliveryVerdict?]
        /// Messages without a report.
        var left = 0
        /// The error of a message that was refused.
        var refusal: rd_kafka_resp_err_t?
        /// An error that is not the message's.
        var failure: rd_kafka_resp_err_t?
        /// Topics that take nothing: each is asked for once.
        var closed: [String: rd_kafka_resp_err_t] = [:]
    }

    private let client: KafkaClient
    private let configuration: KafkaConfiguration
    private let queue: OpaquePointer
    private let wake: Int32
    /// Whether messages are sent one by one.
    private let isCareful: Bool
    /// What the brokers' connections have said last: the reason of a wait that takes too long.
    private var lastError: String?
    /// Topics that the brokers have.
    private var known: Set<String> = []

    /// A producer.
    ///
    /// - Parameters:
    ///   - configuration: the cluster.
    ///   - wake: what ends a wait.
    ///   - isCareful: whether messages are sent one by one, each after the report of the one before: so that it shows which one a broker refuses.
    /// - Throws: `configurationInvalid`; `sinkUnavailable`.
    init(_ configuration: KafkaConfiguration, wake: Int32, isCareful: Bool = false) throws {
        client = try KafkaClient(configuration, as: .producer(isGapless: !isCareful))
        self.isCareful = isCareful
        self.configuration = configuration
        self.wake = wake
        guard let queue = rd_kafka_queue_get_main(client.pointer) else { throw client.unavailable("there is no memory for a queue") }
        self.queue = queue
        tandem_kafka_wake_by(queue, wake)
    }

    deinit {
        // Nothing of it is to be sent any more; the reports that this makes are taken.
        rd_kafka_purge(client.pointer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING)
        while let event = rd_kafka_queue_poll(queue, 0) { rd_kafka_event_destroy(event) }
        rd_kafka_queue_destroy(queue)
    }

    /// Sends a batch and waits until each message is confirmed or refused.
    ///
    /// - Parameters:
    ///   - batch: the events.
    ///   - isCancelled: asked while it waits.
    /// - Returns: a verdict for each.
    /// - Throws: ``Gap``; `sinkUnavailable`; `CancellationError`.
    func deliver(_ batch: [Delivery], isCancelled: () -> Bool) throws -> [DeliveryVerdict] {
        var flight = Flight(verdicts: Array(repeating: nil, count: batch.count)), refused: Set<String> = []
        for (index, delivery) in batch.enumerated() {
            try send(delivery, index, &flight, &refused, isCancelled)
            guard isCareful else { continue }
            try finish(&flight, isCancelled)
            if let error = flight.refusal { refuse(delivery, index, error, &flight, &refused) }
            flight.refusal = nil
        }
        try finish(&flight, isCancelled)
        return flight.verdicts.map { $0 ?? .held }
    }

    /// Looks after the client while there is nothing to deliver.
    func idle() {
        var flight = Flight(verdicts: [])
        drain(&flight)
        tandem_kafka_wake_wait(wake, -1)
    }

    // MARK: Sending

    /// Hands a message to the client, unless one of its key before it was refused.
    private func send(_ delivery: Delivery, _ index: Int, _ flight: inout Flight, _ refused: inout Set<String>, _ isCancelled: () -> Bool) throws {
        if let key = delivery.event.key, refused.contains(key) {
            flight.verdicts[index] = .held
            return
        }
        let topic =
            switch configuration.topic {
            case .event: delivery.event.topic
            case .fixed(let name): name
            }
        if let error = try look(at: topic, &flight, isCancelled) { return refuse(delivery, index, error, &flight, &refused) }
        while true {
            switch produce(delivery, to: topic, token: UInt64(index)) {
            case RD_KAFKA_RESP_ERR_NO_ERROR:
                flight.left += 1
                return
            case RD_KAFKA_RESP_ERR__QUEUE_FULL:
                // With nothing under way it is the message that is larger than the queue.
                guard flight.left > 0 else { return refuse(delivery, index, RD_KAFKA_RESP_ERR__QUEUE_FULL, &flight, &refused) }
                try progress(&flight, isCancelled)
            case let error where Self.isOfMessage(error):
                refuse(delivery, index, error, &flight, &refused)
                return
            case let error:
                try check()
                throw client.unavailable(KafkaClient.text(of: error))
            }
        }
    }

    /// Asks for a topic that is new: a message for one that is not there, or not ours to write to, would wait for as long as messages may, which is for ever.
    ///
    /// - Returns: the topic's error; `nil` where it has none.
    private func look(at topic: String, _ flight: inout Flight, _ isCancelled: () -> Bool) throws -> rd_kafka_resp_err_t? {
        if known.contains(topic) { return nil }
        if let error = flight.closed[topic] { return error }
        let error = try ask(for: topic, &flight, isCancelled)
        flight.closed[topic] = error
        return error
    }

    private func ask(for topic: String, _ flight: inout Flight, _ isCancelled: () -> Bool) throws -> rd_kafka_resp_err_t? {
        guard let handle = rd_kafka_topic_new(client.pointer, topic, nil) else { return RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION }
        defer { rd_kafka_topic_destroy(handle) }
        let start = ContinuousClock.now
        while true {
            if isCancelled() { throw CancellationError() }
            var metadata: UnsafePointer<rd_kafka_metadata>?
            let answer = rd_kafka_metadata(client.pointer, 0, handle, &metadata, Self.glance)
            defer { if let metadata { rd_kafka_metadata_destroy(metadata) } }
            drain(&flight)
            if answer == RD_KAFKA_RESP_ERR_NO_ERROR, let metadata, metadata.pointee.topic_cnt > 0 {
                switch metadata.pointee.topics[0].err {
                case RD_KAFKA_RESP_ERR_NO_ERROR:
                    if known.count >= Self.mostTopics { known = [] }
                    known.insert(topic)
                    return nil
                case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
                    if ContinuousClock.now - start >= Self.creation { return RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART }
                case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
                    lastError = "the topic \(topic) has no leader"
                case let error where Self.isOfMessage(error):
                    return error
                case let error:
                    lastError = "\(KafkaClient.text(of: error)), of the topic \(topic)"
                }
            }
            if ContinuousClock.now - start >= configuration.patience { throw client.unavailable(lastError ?? KafkaClient.text(of: answer)) }
            tandem_kafka_wake_wait(wake, Self.question)
        }
    }

    private func produce(_ delivery: Delivery, to topic: String, token: UInt64) -> rd_kafka_resp_err_t {
        let event = delivery.event, attributes = CloudEvent.attributes(of: delivery)
        let headers = rd_kafka_headers_new(event.headers.count + attributes.count + 1)
        func add(_ name: String, _ value: String) { rd_kafka_header_add(headers, name, name.utf8.count, value, value.utf8.count) }
        for header in event.headers { add(header.name, header.value) }
        // Behind the event's own: of two headers of one name the last one counts.
        for attribute in attributes { add("ce_\(attribute.name)", attribute.value) }
        add("content-type", event.contentType)
        let error = event.payload.withUnsafeBytes { payload in
            guard var key = event.key else { return tandem_kafka_produce(client.pointer, topic, nil, 0, payload.baseAddress, payload.count, headers, token) }
            return key.withUTF8 { tandem_kafka_produce(client.pointer, topic, $0.baseAddress, $0.count, payload.baseAddress, payload.count, headers, token) }
        }
        if error != RD_KAFKA_RESP_ERR_NO_ERROR { rd_kafka_headers_destroy(headers) }
        return error
    }

    /// Whether an error says something about the message or its topic, while others may be taken.
    private static func isOfMessage(_ error: rd_kafka_resp_err_t) -> Bool {
        [
            RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE, RD_KAFKA_RESP_ERR_INVALID_MSG, RD_KAFKA_RESP_ERR_INVALID_RECORD,
            RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP, RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC, RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION,
            RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
            RD_KAFKA_RESP_ERR__INVALID_ARG, RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
        ].contains(error)
    }

    private func refuse(_ delivery: Delivery, _ index: Int, _ error: rd_kafka_resp_err_t, _ flight: inout Flight, _ refused: inout Set<String>) {
        flight.verdicts[index] = .refused(
            TandemError(
                .eventRefused, "Kafka does not take an event of the topic \(delivery.event.topic): \(KafkaClient.text(of: error))",
                nextStep: "mend the topic, its rights or its limits, then `tandem outbox retry`"))
        if let key = delivery.event.key { refused.insert(key) }
    }

    // MARK: Reports

    /// Waits until each message has its report.
    private func finish(_ flight: inout Flight, _ isCancelled: () -> Bool) throws {
        while flight.left > 0 { try progress(&flight, isCancelled) }
        // Its reports may have come before it has stopped.
        if flight.refusal != nil, !isCareful { throw Gap() }
        if let failure = flight.failure { throw client.unavailable(KafkaClient.text(of: failure)) }
    }

    private func check() throws {
        guard let fatal = client.fatalError else { return }
        if fatal.code == RD_KAFKA_RESP_ERR__GAPLESS_GUARANTEE { throw Gap() }
        throw client.unavailable(fatal.text)
    }

    /// Waits for reports, at most for the configuration's patience.
    private func progress(_ flight: inout Flight, _ isCancelled: () -> Bool) throws {
        let deadline = ContinuousClock.now + configuration.patience, before = flight.left
        while true {
            drain(&flight)
            try check()
            if flight.left < before { return }
            if isCancelled() { throw CancellationError() }
            if ContinuousClock.now >= deadline { throw client.unavailable(lastError ?? "the brokers confirm nothing") }
            tandem_kafka_wake_wait(wake, Self.glance)
        }
    }

    /// Takes what has come.
    private func drain(_ flight: inout Flight) {
        while let event = rd_kafka_queue_poll(queue, 0) {
            defer { rd_kafka_event_destroy(event) }
            switch rd_kafka_event_type(event) {
            case RD_KAFKA_EVENT_DR:
                while let message = rd_kafka_event_message_next(event) { report(message.pointee.err, Int(tandem_kafka_token(message)), &flight) }
            case RD_KAFKA_EVENT_ERROR:
                lastError = rd_kafka_event_error_string(event).map { String(cString: $0) }
            default: break
            }
        }
    }

    private func report(_ error: rd_kafka_resp_err_t, _ index: Int, _ flight: inout Flight) {
        flight.left -= 1
        if error == RD_KAFKA_RESP_ERR_NO_ERROR {
            lastError = nil
            flight.verdicts[index] = .delivered
        } else if Self.isOfMessage(error) {
            flight.refusal = error
        } else {
            flight.failure = error
        }
    }
}
