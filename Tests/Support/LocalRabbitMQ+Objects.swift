import CRabbitMQ
import Foundation
package import TandemLocal

/// Queues and exchanges, which the library does not make.
extension LocalRabbitMQ {
    /// Makes a durable queue.
    ///
    /// - Parameters:
    ///   - queue: its name.
    ///   - most: how many messages it takes; it rejects more.
    /// - Throws: `TestFailure`.
    package func declare(_ queue: String, most: Int64? = nil) throws {
        try withChannel { connection in
            let rejection = text("reject-publish"), names = ["x-max-length", "x-overflow"].map(text)
            defer { for text in names + [rejection] { free(text.bytes) } }
            var arguments = [tandem_amqp_header_integer(names[0], most ?? 0), tandem_amqp_header_text(names[1], rejection)]
            arguments.withUnsafeMutableBufferPointer { entries in
                with(queue) {
                    _ = amqp_queue_declare(connection, 1, $0, 0, 1, 0, 0, amqp_table_t(num_entries: most == nil ? 0 : 2, entries: entries.baseAddress))
                }
            }
        }
    }

    /// Makes an exchange, whose messages of one routing key go into a queue.
    package func declare(exchange: String, into queue: String, for key: String) throws {
        try withChannel { connection in
            with(exchange) { exchange in
                with("direct") { _ = amqp_exchange_declare(connection, 1, exchange, $0, 0, 1, 0, 0, amqp_empty_table) }
                with(key) { key in with(queue) { _ = amqp_queue_bind(connection, 1, $0, exchange, key, amqp_empty_table) } }
            }
        }
    }

    package func delete(exchange: String) throws {
        try withChannel { connection in with(exchange) { _ = amqp_exchange_delete(connection, 1, $0, 0) } }
    }

    private func text(_ text: String) -> amqp_bytes_t { amqp_bytes_t(len: text.utf8.count, bytes: strdup(text)) }

    private func with(_ name: String, _ body: (amqp_bytes_t) -> Void) {
        let bytes = text(name)
        defer { free(bytes.bytes) }
        body(bytes)
    }

    private func withChannel(_ body: (amqp_connection_state_t) -> Void) throws {
        guard let connection = amqp_new_connection(), let socket = amqp_tcp_socket_new(connection) else { throw TestFailure("there is no memory") }
        defer { amqp_destroy_connection(connection) }
        guard amqp_socket_open(socket, "127.0.0.1", Int32(port)) == AMQP_STATUS_OK.rawValue,
            tandem_amqp_login(connection, "/", 10, "tests", "guest", "guest").reply_type == AMQP_RESPONSE_NORMAL
        else { throw TestFailure("RabbitMQ does not let the tests in") }
        amqp_channel_open(connection, 1)
        body(connection)
        guard amqp_get_rpc_reply(connection).reply_type == AMQP_RESPONSE_NORMAL else { throw TestFailure("RabbitMQ did not do what the tests asked for") }
    }
}
