import CRabbitMQ
import Glibc
import TandemCore
import TandemMessaging

/// One connection with one channel, used by one thread. After an error it is of no more use.
final class RabbitMQConnection {
    private static let channel: UInt16 = 1
    /// Bytes under way that are not confirmed yet: far below what a socket takes before a write waits, since nothing else is looked at while one waits.
    private static let mostBytes = 1 << 20
    /// Bytes of a text outside of the payload, and of a header's name.
    private static let longestText = 255
    /// Bytes of an event's headers: with all else they have to fit into one frame.
    private static let mostHeaders = 100_000
    /// How often it is asked whether the socket takes more.
    private static let writes = 32

    private let connection: amqp_connection_state_t
    private let configuration: RabbitMQConfiguration
    private let wake: Int32
    /// The tag of the last message: the broker counts in the same way.
    private var tag: UInt64 = 0
    private var isBlocked = false

    /// Connects and logs in.
    ///
    /// - Parameters:
    ///   - configuration: the broker.
    ///   - wake: what ends a wait.
    /// - Throws: `sinkUnavailable`.
    init(_ configuration: RabbitMQConfiguration, wake: Int32) throws {
        guard let connection = amqp_new_connection() else { throw Self.unavailable(configuration, "there is no memory for a connection") }
        self.connection = connection
        self.configuration = configuration
        self.wake = wake
        try open()
    }

    deinit { amqp_destroy_connection(connection) }

    private func open() throws {
        guard let socket = configuration.tls == nil ? amqp_tcp_socket_new(connection) : amqp_ssl_socket_new(connection) else {
            throw unavailable("there is no memory for a socket")
        }
        if let tls = configuration.tls {
            try check(amqp_ssl_socket_set_cacert(socket, tls.certificates), "the certificates of \(tls.certificates)")
            amqp_ssl_socket_set_verify_peer(socket, 1)
            amqp_ssl_socket_set_verify_hostname(socket, 1)
        }
        let seconds = max(1, Int(configuration.patience.components.seconds))
        var limit = timeval(tv_sec: seconds, tv_usec: 0)
        amqp_set_handshake_timeout(connection, &limit)
        amqp_set_rpc_timeout(connection, &limit)
        try check(amqp_socket_open_noblock(socket, configuration.host, Int32(configuration.port), &limit), "connecting")
        // A write ends by itself where the broker reads nothing for so long, or its host has gone silent: the library waits without an end.
        var milliseconds = UInt32(clamping: seconds * 1000)
        setsockopt(amqp_get_sockfd(connection), Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, &milliseconds, socklen_t(MemoryLayout.size(ofValue: milliseconds)))
        let heartbeat = Int32(max(1, configuration.heartbeat.components.seconds))
        try check(tandem_amqp_login(connection, configuration.virtualHost, heartbeat, "tandem", configuration.user, configuration.password), "logging in")
        amqp_channel_open(connection, Self.channel)
        try check(amqp_get_rpc_reply(connection), "opening a channel")
    }

    /// Lets the broker confirm what is published; before the first message.
    func confirm() throws {
        amqp_confirm_select(connection, Self.channel)
        try check(amqp_get_rpc_reply(connection), "asking for confirms")
    }

    /// Makes a quorum queue.
    func declare(_ queue: String) throws {
        var pieces = Pieces()
        let name = pieces.add(queue), option = pieces.add("x-queue-type"), kind = pieces.add("quorum")
        pieces.bytes.withUnsafeBytes { bytes in
            func piece(_ range: Range<Int>) -> amqp_bytes_t { tandem_amqp_bytes(bytes.baseAddress.map { $0 + range.lowerBound }, range.count) }
            var argument = tandem_amqp_header_text(piece(option), piece(kind))
            withUnsafeMutablePointer(to: &argument) { argument in
                _ = amqp_queue_declare(connection, Self.channel, piece(name), 0, 1, 0, 0, amqp_table_t(num_entries: 1, entries: argument))
            }
        }
        try check(amqp_get_rpc_reply(connection), "declaring the queue \(queue)")
    }

    // MARK: Consuming

    /// What the broker brings.
    struct Message {
        let tag: UInt64
        let message: RabbitMQMessage
    }

    /// Lets the broker bring what is in a queue, at most so many messages before the first is acknowledged.
    func consume(_ queue: String, prefetch: Int) throws {
        amqp_basic_qos(connection, Self.channel, 0, UInt16(clamping: max(1, prefetch)), 0)
        try check(amqp_get_rpc_reply(connection), "asking for at most \(prefetch) messages")
        var pieces = Pieces()
        let name = pieces.add(queue)
        pieces.bytes.withUnsafeBytes { bytes in
            _ = amqp_basic_consume(
                connection, Self.channel, tandem_amqp_bytes(bytes.baseAddress, name.count), amqp_empty_bytes, 0, 0, 0, amqp_empty_table)
        }
        try check(amqp_get_rpc_reply(connection), "consuming the queue \(queue)")
    }

    /// Takes what has come; waits where nothing has, until something does or somebody wakes it.
    func messages() throws -> [Message] {
        var all = try arrived()
        if all.isEmpty {
            wait(forWriting: false)
            all = try arrived()
        }
        return all
    }

    private func arrived() throws -> [Message] {
        defer { amqp_maybe_release_buffers(connection) }
        var all: [Message] = []
        while true {
            var event = tandem_amqp_event()
            try check(tandem_amqp_next(connection, 0, &event), "waiting for messages")
            defer { if event.has_message { amqp_destroy_message(&event.message) } }
            switch tandem_amqp_kind(UInt32(event.kind)) {
            case tandem_amqp_nothing: return all
            case tandem_amqp_deliver: all.append(Message(tag: event.tag, message: Self.message(event)))
            case tandem_amqp_cancel: throw unavailable("the queue is gone")
            case tandem_amqp_channel_closed, tandem_amqp_connection_closed: throw unavailable("the broker has closed: \(event.code) \(Self.text(event.text))")
            default: break
            }
        }
    }

    private static func message(_ event: tandem_amqp_event) -> RabbitMQMessage {
        let properties = event.message.properties
        func text(_ flag: Int32, _ bytes: amqp_bytes_t) -> String? { properties._flags & UInt32(flag) == 0 ? nil : Self.text(bytes) }
        var headers: [Event.Header] = []
        if properties._flags & UInt32(AMQP_BASIC_HEADERS_FLAG) != 0, let entries = properties.headers.entries {
            for index in 0..<Int(properties.headers.num_entries) {
                headers.append(.init(Self.text(entries[index].key), Self.text(tandem_amqp_header_value(entries + index))))
            }
        }
        let body = event.message.body
        let payload = body.bytes.map { Array(UnsafeRawBufferPointer(start: $0, count: body.len)) } ?? []
        return RabbitMQMessage(
            id: text(AMQP_BASIC_MESSAGE_ID_FLAG, properties.message_id), type: text(AMQP_BASIC_TYPE_FLAG, properties.type),
            contentType: text(AMQP_BASIC_CONTENT_TYPE_FLAG, properties.content_type), routingKey: Self.text(event.key), isRedelivered: event.flag,
            headers: headers, payload: payload)
    }

    /// Tells the broker that a message is handled, or that it has to come again.
    func settle(_ tag: UInt64, isDone: Bool) throws {
        let status =
            isDone ? amqp_basic_ack(connection, Self.channel, tag, 0) : amqp_basic_nack(connection, Self.channel, tag, 0, 1)
        try check(status, "acknowledging")
    }

    // MARK: Delivering

    /// What is under way.
    private struct Flight {
        var verdicts: [DeliveryVerdict?]
        /// The messages that are not confirmed, by their tags.
        var outstanding: [UInt64: Int] = [:]
        var bytes = 0
        /// Messages that came back, by the event's id; each is confirmed right afterwards all the same.
        var returned: [String: String] = [:]
        /// Keys of which a message is refused: what was not published by then waits.
        var blocked: Set<String> = []
        var rejected = 0
    }

    /// Publishes a batch and waits until each message is confirmed or came back.
    ///
    /// - Parameters:
    ///   - batch: the events.
    ///   - isCancelled: asked while it waits.
    /// - Returns: a verdict for each.
    /// - Throws: `sinkUnavailable`; `CancellationError`.
    func deliver(_ batch: [Delivery], isCancelled: () -> Bool) throws -> [DeliveryVerdict] {
        var flight = Flight(verdicts: Array(repeating: nil, count: batch.count)), next = 0
        var deadline = ContinuousClock.now + configuration.patience
        while next < batch.count || !flight.outstanding.isEmpty {
            if isCancelled() { throw CancellationError() }
            var isFull = false
            while next < batch.count, !isBlocked, flight.outstanding.count < configuration.window, flight.bytes < Self.mostBytes {
                if let verdict = unfit(batch[next], &flight.blocked) {
                    flight.verdicts[next] = verdict
                    next += 1
                    continue
                }
                let size = batch[next].event.payload.count
                if next.isMultiple(of: Self.writes) || size > Self.writes << 9, tandem_amqp_wait(connection, -1, true, 0) & 4 == 0 {
                    isFull = true
                    break
                }
                try publish(batch[next])
                tag += 1
                flight.outstanding[tag] = next
                flight.bytes += size
                next += 1
            }
            let answered = try drain(&flight, batch)
            if answered { deadline = .now + configuration.patience }
            if ContinuousClock.now >= deadline {
                throw unavailable(isBlocked ? "the broker takes no messages: it is short of memory or disk" : "the broker confirms nothing")
            }
            if answered || (next == batch.count && flight.outstanding.isEmpty) { continue }
            if next < batch.count, !isBlocked, !isFull, flight.outstanding.count < configuration.window, flight.bytes < Self.mostBytes { continue }
            wait(forWriting: isFull)
        }
        // Nobody knows which of a key came first where some were rejected: all are sent again.
        if flight.rejected > 0 { throw unavailable("the broker has rejected \(flight.rejected) of \(batch.count) messages: a queue is full, or has failed") }
        return flight.verdicts.map { $0 ?? .delivered }
    }

    private func wait(forWriting isWriting: Bool) {
        if tandem_amqp_wait(connection, wake, isWriting, 1000) & 2 != 0 { tandem_wake_empty(wake) }
    }

    /// Takes what the broker has said.
    ///
    /// - Returns: whether it has answered anything.
    private func drain(_ flight: inout Flight, _ batch: [Delivery]) throws -> Bool {
        defer { amqp_maybe_release_buffers(connection) }
        var hasAnswered = false
        while true {
            var event = tandem_amqp_event()
            try check(tandem_amqp_next(connection, 0, &event), "waiting for confirms")
            defer { if event.has_message { amqp_destroy_message(&event.message) } }
            switch tandem_amqp_kind(UInt32(event.kind)) {
            case tandem_amqp_nothing: return hasAnswered
            case tandem_amqp_ack, tandem_amqp_nack:
                hasAnswered = true
                let isAcknowledged = tandem_amqp_kind(UInt32(event.kind)) == tandem_amqp_ack
                let tags = event.flag ? flight.outstanding.keys.filter { $0 <= event.tag } : [event.tag]
                for tag in tags {
                    guard let index = flight.outstanding.removeValue(forKey: tag) else { continue }
                    let delivery = batch[index].event
                    flight.bytes -= delivery.payload.count
                    if !isAcknowledged { flight.rejected += 1 }
                    if let reason = flight.returned.removeValue(forKey: delivery.id) {
                        flight.verdicts[index] = .refused(unroutable(delivery, reason))
                        if let key = delivery.key { flight.blocked.insert(key) }
                    } else {
                        flight.verdicts[index] = .delivered
                    }
                }
            case tandem_amqp_return:
                hasAnswered = true
                flight.returned[Self.text(event.message.properties.message_id)] = "\(event.code) \(Self.text(event.text))"
            case tandem_amqp_blocked: isBlocked = true
            case tandem_amqp_unblocked: isBlocked = false
            case tandem_amqp_channel_closed, tandem_amqp_connection_closed: throw unavailable("the broker has closed: \(event.code) \(Self.text(event.text))")
            default: break
            }
        }
    }

    /// Looks after the connection while there is nothing to deliver.
    ///
    /// - Returns: whether it is still there.
    func idle() -> Bool {
        var flight = Flight(verdicts: [])
        do {
            _ = try drain(&flight, [])
            wait(forWriting: false)
            return true
        } catch {
            return false
        }
    }

    // MARK: Publishing

    private func publish(_ delivery: Delivery) throws {
        let event = delivery.event
        var pieces = Pieces()
        let exchange = pieces.add(configuration.exchange), routing = pieces.add(routingKey(of: event))
        let id = pieces.add(event.id), type = pieces.add(event.topic), contentType = pieces.add(event.contentType)
        let headers =
            event.headers.map { (pieces.add($0.name), pieces.add($0.value)) }
            + CloudEvent.attributes(of: delivery).map { (pieces.add("cloudEvents:\($0.name)"), pieces.add($0.value)) }
        let status = pieces.bytes.withUnsafeBytes { bytes in
            event.payload.withUnsafeBytes { payload in
                withUnsafeTemporaryAllocation(of: amqp_table_entry_t.self, capacity: headers.count) { entries in
                    func piece(_ range: Range<Int>) -> amqp_bytes_t { tandem_amqp_bytes(bytes.baseAddress.map { $0 + range.lowerBound }, range.count) }
                    for (index, header) in headers.enumerated() { entries[index] = tandem_amqp_header_text(piece(header.0), piece(header.1)) }
                    var properties = amqp_basic_properties_t()
                    properties._flags = UInt32(
                        AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_TYPE_FLAG
                            | AMQP_BASIC_CONTENT_TYPE_FLAG)
                    properties.message_id = piece(id)
                    properties.delivery_mode = UInt8(AMQP_DELIVERY_PERSISTENT.rawValue)
                    properties.type = piece(type)
                    properties.content_type = piece(contentType)
                    properties.headers = amqp_table_t(num_entries: Int32(headers.count), entries: entries.baseAddress)
                    return amqp_basic_publish(
                        connection, Self.channel, piece(exchange), piece(routing), 1, 0, &properties, tandem_amqp_bytes(payload.baseAddress, payload.count))
                }
            }
        }
        try check(status, "publishing")
    }

    /// What a message cannot carry is refused before it is sent: a broker would end the connection for it.
    private func unfit(_ delivery: Delivery, _ blocked: inout Set<String>) -> DeliveryVerdict? {
        let event = delivery.event
        if let key = event.key, blocked.contains(key) { return .held }
        let texts = [("topic", event.topic), ("routing key", routingKey(of: event)), ("content type", event.contentType)]
        let problem =
            if let text = texts.first(where: { $0.1.utf8.count > Self.longestText }) {
                "the \(text.0) has \(text.1.utf8.count) bytes of \(Self.longestText)"
            } else if let header = event.headers.first(where: { $0.name.utf8.count > Self.longestText }) {
                "the name of a header has \(header.name.utf8.count) bytes of \(Self.longestText)"
            } else if event.headers.reduce(0, { $0 + $1.name.utf8.count + $1.value.utf8.count }) > Self.mostHeaders {
                "the headers have more than \(Self.mostHeaders) bytes"
            } else {
                String?.none
            }
        guard let problem else { return nil }
        if let key = event.key { blocked.insert(key) }
        return .refused(because: "RabbitMQ cannot carry the event: \(problem)", nextStep: "publish it with shorter ones, and `tandem outbox drop` this one")
    }

    /// Texts one behind the other, as the library wants bytes that stay where they are.
    private struct Pieces {
        var bytes: [UInt8] = []

        mutating func add(_ text: String) -> Range<Int> {
            let start = bytes.count
            bytes.append(contentsOf: text.utf8)
            return start..<bytes.count
        }
    }

    private func unroutable(_ event: Event, _ reason: String) -> TandemError {
        let key = routingKey(of: event)
        return TandemError(
            .eventRefused, "RabbitMQ has no queue for the topic \(event.topic), routing key \(key): \(reason)",
            nextStep: configuration.exchange.isEmpty
                ? "declare the queue \(key), then `tandem outbox retry`"
                : "bind a queue to the exchange \(configuration.exchange), then `tandem outbox retry`")
    }

    private func routingKey(of event: Event) -> String {
        switch configuration.routing {
        case .topic: event.topic
        case .key: event.key ?? ""
        case .fixed(let text): text
        }
    }

    // MARK: Errors

    private static func text(_ bytes: amqp_bytes_t) -> String {
        guard let start = bytes.bytes else { return "" }
        return String(decoding: UnsafeRawBufferPointer(start: start, count: bytes.len), as: UTF8.self)
    }

    private static func unavailable(_ configuration: RabbitMQConfiguration, _ problem: String) -> TandemError {
        TandemError(.sinkUnavailable, "RabbitMQ at \(configuration): \(problem)", nextStep: "see whether the broker runs, and what its log says")
    }

    private func unavailable(_ problem: String) -> TandemError { Self.unavailable(configuration, problem) }

    private func check(_ status: Int32, _ what: String) throws {
        guard status != AMQP_STATUS_OK.rawValue else { return }
        throw unavailable("\(what): \(String(cString: amqp_error_string2(status)))")
    }

    private func check(_ reply: amqp_rpc_reply_t, _ what: String) throws {
        guard reply.reply_type != AMQP_RESPONSE_NORMAL else { return }
        var reply = reply, code: UInt16 = 0, text = amqp_bytes_t()
        if tandem_amqp_exception(&reply, &code, &text) { throw unavailable("\(what): \(code) \(Self.text(text))") }
        throw unavailable("\(what): \(String(cString: amqp_error_string2(reply.library_error)))")
    }
}
