import CRDKafka
import TandemCore
import TandemMessaging

/// One member of a group of consumers, used by one thread.
final class KafkaSession {
    /// How long one look for messages waits, in milliseconds.
    private static let glance: Int32 = 100
    /// How long the answer to the last commit is waited for, in milliseconds.
    private static let patience: Int32 = 5000

    private let client: KafkaClient
    /// What the brokers say beside messages.
    private let events: OpaquePointer
    /// Partitions that are paused: librdkafka remembers that of those that are taken away, too.
    private var paused: Set<String> = []

    /// Joins a group.
    ///
    /// - Parameters:
    ///   - configuration: the cluster.
    ///   - topics: whose messages are wanted.
    ///   - group: the group, whose members share the partitions.
    /// - Throws: `configurationInvalid`; `sinkUnavailable`.
    init(_ configuration: KafkaConfiguration, topics: [String], group: String) throws {
        client = try KafkaClient(configuration, as: .consumer(group: group))
        guard let events = rd_kafka_queue_get_main(client.pointer) else { throw client.unavailable("there is no memory for a queue") }
        self.events = events
        guard let list = rd_kafka_topic_partition_list_new(Int32(topics.count)) else { throw client.unavailable("there is no memory for a list") }
        defer { rd_kafka_topic_partition_list_destroy(list) }
        for topic in topics { rd_kafka_topic_partition_list_add(list, topic, RD_KAFKA_PARTITION_UA) }
        try check(rd_kafka_subscribe(client.pointer, list))
    }

    /// Commits what is stored and leaves the group.
    deinit {
        commit()
        rd_kafka_consumer_close(client.pointer)
        rd_kafka_queue_destroy(events)
    }

    /// Waits for the answer, unless it takes too long: a commit that travels with the farewell may be refused for being behind it. Where the group is just sharing out
    /// its partitions it takes none, and brings the messages again.
    private func commit() {
        guard let answers = rd_kafka_queue_new(client.pointer) else { return }
        defer { rd_kafka_queue_destroy(answers) }
        guard rd_kafka_commit_queue(client.pointer, nil, answers, nil, nil) == RD_KAFKA_RESP_ERR_NO_ERROR else { return }
        if let answer = rd_kafka_queue_poll(answers, Self.patience) { rd_kafka_event_destroy(answer) }
    }

    private func check(_ error: rd_kafka_resp_err_t) throws {
        guard error != RD_KAFKA_RESP_ERR_NO_ERROR else { return }
        throw client.unavailable(client.fatalError?.text ?? KafkaClient.text(of: error))
    }

    /// Messages that have come, in the order of each partition; none where none came within a moment.
    ///
    /// - Parameters:
    ///   - limit: the most.
    ///   - report: is told what the brokers say.
    /// - Returns: the messages.
    /// - Throws: `sinkUnavailable` where the member is of no more use.
    func messages(_ limit: Int, report: (String) -> Void) throws -> [KafkaMessage] {
        while let event = rd_kafka_queue_poll(events, 0) {
            if let text = rd_kafka_event_error_string(event), rd_kafka_event_type(event) == RD_KAFKA_EVENT_ERROR { report(String(cString: text)) }
            rd_kafka_event_destroy(event)
        }
        var all: [KafkaMessage] = []
        while all.count < limit, let message = rd_kafka_consumer_poll(client.pointer, all.isEmpty ? Self.glance : 0) {
            defer { rd_kafka_message_destroy(message) }
            if message.pointee.err == RD_KAFKA_RESP_ERR_NO_ERROR {
                all.append(Self.message(message))
            } else if client.fatalError != nil {
                try check(message.pointee.err)
            } else {
                report(rd_kafka_message_errstr(message).map { String(cString: $0) } ?? KafkaClient.text(of: message.pointee.err))
            }
        }
        return all
    }

    /// Marks a message as handled: its group does not get it again, once that is committed.
    func store(_ message: KafkaMessage) {
        guard let list = rd_kafka_topic_partition_list_new(1) else { return }
        defer { rd_kafka_topic_partition_list_destroy(list) }
        rd_kafka_topic_partition_list_add(list, message.topic, Int32(message.partition)).pointee.offset = message.offset + 1
        // A partition that is somebody else's by now is not ours to commit; he gets the message again.
        rd_kafka_offsets_store(client.pointer, list)
    }

    /// Lets the brokers bring nothing, while the member gives its signs of life.
    func pause() {
        change { list in
            rd_kafka_pause_partitions(client.pointer, list)
            paused.formUnion(Self.names(of: list))
        }
    }

    /// Lets the brokers go on with what was paused. One that is somebody else's by now stays in mind: it would come back as it left.
    func resume() {
        guard !paused.isEmpty else { return }
        change { list in
            for index in (0..<Int(list.pointee.cnt)).reversed() where !paused.contains(Self.names(of: list)[index]) {
                rd_kafka_topic_partition_list_del_by_idx(list, Int32(index))
            }
            rd_kafka_resume_partitions(client.pointer, list)
            paused.subtract(Self.names(of: list))
        }
    }

    private func change(_ body: (UnsafeMutablePointer<rd_kafka_topic_partition_list_t>) -> Void) {
        var list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>?
        guard rd_kafka_assignment(client.pointer, &list) == RD_KAFKA_RESP_ERR_NO_ERROR, let list else { return }
        defer { rd_kafka_topic_partition_list_destroy(list) }
        body(list)
    }

    private static func names(of list: UnsafeMutablePointer<rd_kafka_topic_partition_list_t>) -> [String] {
        (0..<Int(list.pointee.cnt)).map { "\(String(cString: list.pointee.elems[$0].topic))/\(list.pointee.elems[$0].partition)" }
    }

    private static func message(_ message: UnsafeMutablePointer<rd_kafka_message_t>) -> KafkaMessage {
        let value = message.pointee
        func bytes(_ start: UnsafeMutableRawPointer?, _ count: Int) -> [UInt8]? { start.map { Array(UnsafeRawBufferPointer(start: $0, count: count)) } }
        return KafkaMessage(
            topic: String(cString: rd_kafka_topic_name(value.rkt)), partition: Int(value.partition), offset: value.offset, key: bytes(value.key, value.key_len),
            headers: headers(message), payload: bytes(value.payload, value.len) ?? [])
    }

    private static func headers(_ message: UnsafeMutablePointer<rd_kafka_message_t>) -> [Event.Header] {
        var list: OpaquePointer?
        guard rd_kafka_message_headers(message, &list) == RD_KAFKA_RESP_ERR_NO_ERROR else { return [] }
        var all: [Event.Header] = [], name: UnsafePointer<CChar>?, value: UnsafeRawPointer?, count = 0
        while rd_kafka_header_get_all(list, all.count, &name, &value, &count) == RD_KAFKA_RESP_ERR_NO_ERROR, let name {
            all.append(.init(String(cString: name), String(decoding: UnsafeRawBufferPointer(start: value, count: value == nil ? 0 : count), as: UTF8.self)))
        }
        return all
    }
}
