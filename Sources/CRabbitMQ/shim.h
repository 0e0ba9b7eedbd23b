#ifndef TANDEM_CRABBITMQ_SHIM_H
#define TANDEM_CRABBITMQ_SHIM_H

/* rabbitmq-c 0.11 as Debian ships it; from 0.12 on the headers are in a folder of their own, and the old names only warn. */
#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/ssl_socket.h>
#include <rabbitmq-c/tcp_socket.h>
#else
#include <amqp.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#endif

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

/* What is awkward or impossible from Swift: the login is variadic, and what a frame carries is behind untyped pointers. All else comes over as
   it is: amqp_bytes_t, amqp_basic_properties_t and its flags, amqp_basic_publish, amqp_basic_ack, amqp_basic_nack, amqp_rpc_reply_t, the
   status codes (`AMQP_STATUS_TIMEOUT.rawValue`), amqp_empty_bytes. */

static inline amqp_bytes_t tandem_amqp_bytes(const void *bytes, size_t count) {
    amqp_bytes_t result = {.len = count, .bytes = (void *)bytes};
    return result;
}

/* Headers. Keys of at most 128 bytes; nothing is copied, so what they point to has to outlive the publishing call. */
static inline amqp_table_entry_t tandem_amqp_header_text(amqp_bytes_t key, amqp_bytes_t text) {
    amqp_table_entry_t entry = {.key = key, .value = {.kind = AMQP_FIELD_KIND_UTF8, .value = {.bytes = text}}};
    return entry;
}

static inline amqp_table_entry_t tandem_amqp_header_bytes(amqp_bytes_t key, amqp_bytes_t bytes) {
    amqp_table_entry_t entry = {.key = key, .value = {.kind = AMQP_FIELD_KIND_BYTES, .value = {.bytes = bytes}}};
    return entry;
}

static inline amqp_table_entry_t tandem_amqp_header_integer(amqp_bytes_t key, int64_t number) {
    amqp_table_entry_t entry = {.key = key, .value = {.kind = AMQP_FIELD_KIND_I64, .value = {.i64 = number}}};
    return entry;
}

/* A header's text or bytes, as they came; empty for any other kind. */
static inline amqp_bytes_t tandem_amqp_header_value(const amqp_table_entry_t *entry) {
    bool holds = entry->value.kind == AMQP_FIELD_KIND_UTF8 || entry->value.kind == AMQP_FIELD_KIND_BYTES;
    return holds ? entry->value.value.bytes : amqp_empty_bytes;
}

/* Logs in with user and password. Variadic in the library; and without these capabilities the server would tell neither of a full disk
   (connection.blocked) nor of a consumer's end (basic.cancel). */
static inline amqp_rpc_reply_t tandem_amqp_login(
    amqp_connection_state_t connection, const char *vhost, int heartbeat, const char *name, const char *user, const char *password) {
    amqp_table_entry_t capabilities[2] = {
        {.key = amqp_cstring_bytes("connection.blocked"), .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value = {.boolean = 1}}},
        {.key = amqp_cstring_bytes("consumer_cancel_notify"), .value = {.kind = AMQP_FIELD_KIND_BOOLEAN, .value = {.boolean = 1}}},
    };
    amqp_table_entry_t entries[2] = {
        {.key = amqp_cstring_bytes("capabilities"),
         .value = {.kind = AMQP_FIELD_KIND_TABLE, .value = {.table = {.num_entries = 2, .entries = capabilities}}}},
        {.key = amqp_cstring_bytes("connection_name"),
         .value = {.kind = AMQP_FIELD_KIND_UTF8, .value = {.bytes = amqp_cstring_bytes(name)}}},
    };
    amqp_table_t properties = {.num_entries = 2, .entries = entries};
    return amqp_login_with_properties(
        connection, vhost, 0, AMQP_DEFAULT_FRAME_SIZE, heartbeat, &properties, AMQP_SASL_METHOD_PLAIN, user, password);
}

/* The server's words in a reply that is an exception: its code and text, valid until the channel's buffers are released. */
static inline bool tandem_amqp_exception(const amqp_rpc_reply_t *reply, uint16_t *code, amqp_bytes_t *text) {
    if (reply->reply_type != AMQP_RESPONSE_SERVER_EXCEPTION) { return false; }
    if (reply->reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        const amqp_channel_close_t *close = (const amqp_channel_close_t *)reply->reply.decoded;
        *code = close->reply_code;
        *text = close->reply_text;
        return true;
    }
    if (reply->reply.id == AMQP_CONNECTION_CLOSE_METHOD) {
        const amqp_connection_close_t *close = (const amqp_connection_close_t *)reply->reply.decoded;
        *code = close->reply_code;
        *text = close->reply_text;
        return true;
    }
    return false;
}

/* To be called after an exception that came as the reply of a call (amqp_get_rpc_reply): the library answers none of the server's closes
   itself, and opening the channel again unanswered costs the connection (504). */
static inline int tandem_amqp_answer_exception(amqp_connection_state_t connection, uint16_t channel, const amqp_rpc_reply_t *reply) {
    if (reply->reply_type != AMQP_RESPONSE_SERVER_EXCEPTION) { return AMQP_STATUS_OK; }
    if (reply->reply.id == AMQP_CHANNEL_CLOSE_METHOD) {
        amqp_channel_close_ok_t ok = {0};
        return amqp_send_method(connection, channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
    }
    amqp_connection_close_ok_t ok = {0};
    return amqp_send_method(connection, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
}

enum tandem_amqp_kind {
    tandem_amqp_nothing = 0,       /* no frame within the time */
    tandem_amqp_ack,               /* tag, flag: multiple */
    tandem_amqp_nack,              /* tag, flag: multiple */
    tandem_amqp_return,            /* code, text, exchange, key, message: comes before the ack of the same message */
    tandem_amqp_deliver,           /* tag, flag: redelivered, exchange, key, message */
    tandem_amqp_cancel,            /* the server ended the consumer (its queue is gone) */
    tandem_amqp_channel_closed,    /* code, text; already answered: the channel's number may be opened again */
    tandem_amqp_connection_closed, /* code, text; already answered: only amqp_destroy_connection is left to do */
    tandem_amqp_blocked,           /* text: the server reads no more until `unblocked`: publish nothing, writes would wait */
    tandem_amqp_unblocked,
    tandem_amqp_other
};

/* What the server said. What it points to lives until amqp_maybe_release_buffers; a message has to be given to amqp_destroy_message. */
typedef struct {
    int32_t kind;
    uint16_t channel;
    uint16_t code;
    bool flag;
    bool has_message;
    uint64_t tag;
    amqp_bytes_t text;
    amqp_bytes_t exchange;
    amqp_bytes_t key;
    amqp_message_t message;
} tandem_amqp_event;

/* The next thing the server said, within so many milliseconds (0: of what has arrived). Answers an amqp_status_enum; a frame that does not
   come in time is OK with the kind `nothing`. Sends and checks heartbeats on the way, so it has to be called more often than every
   heartbeat / 2. A message's header and body are waited for without a limit of time but the heartbeat's. */
static inline int tandem_amqp_next(amqp_connection_state_t connection, int milliseconds, tandem_amqp_event *event) {
    memset(event, 0, sizeof *event);
    struct timeval timeout = {.tv_sec = milliseconds / 1000, .tv_usec = (milliseconds % 1000) * 1000};
    amqp_frame_t frame;
    int status = amqp_simple_wait_frame_noblock(connection, &frame, &timeout);
    if (status == AMQP_STATUS_TIMEOUT) { return AMQP_STATUS_OK; }
    if (status != AMQP_STATUS_OK) { return status; }
    event->channel = frame.channel;
    event->kind = tandem_amqp_other;
    if (frame.frame_type != AMQP_FRAME_METHOD) { return AMQP_STATUS_OK; }
    const void *decoded = frame.payload.method.decoded;
    switch (frame.payload.method.id) {
    case AMQP_BASIC_ACK_METHOD:
        event->kind = tandem_amqp_ack;
        event->tag = ((const amqp_basic_ack_t *)decoded)->delivery_tag;
        event->flag = ((const amqp_basic_ack_t *)decoded)->multiple;
        return AMQP_STATUS_OK;
    case AMQP_BASIC_NACK_METHOD:
        event->kind = tandem_amqp_nack;
        event->tag = ((const amqp_basic_nack_t *)decoded)->delivery_tag;
        event->flag = ((const amqp_basic_nack_t *)decoded)->multiple;
        return AMQP_STATUS_OK;
    case AMQP_BASIC_RETURN_METHOD:
        event->kind = tandem_amqp_return;
        event->code = ((const amqp_basic_return_t *)decoded)->reply_code;
        event->text = ((const amqp_basic_return_t *)decoded)->reply_text;
        event->exchange = ((const amqp_basic_return_t *)decoded)->exchange;
        event->key = ((const amqp_basic_return_t *)decoded)->routing_key;
        break;
    case AMQP_BASIC_DELIVER_METHOD:
        event->kind = tandem_amqp_deliver;
        event->tag = ((const amqp_basic_deliver_t *)decoded)->delivery_tag;
        event->flag = ((const amqp_basic_deliver_t *)decoded)->redelivered;
        event->exchange = ((const amqp_basic_deliver_t *)decoded)->exchange;
        event->key = ((const amqp_basic_deliver_t *)decoded)->routing_key;
        break;
    case AMQP_BASIC_CANCEL_METHOD:
        event->kind = tandem_amqp_cancel;
        return AMQP_STATUS_OK;
    case AMQP_CHANNEL_CLOSE_METHOD: {
        event->kind = tandem_amqp_channel_closed;
        event->code = ((const amqp_channel_close_t *)decoded)->reply_code;
        event->text = ((const amqp_channel_close_t *)decoded)->reply_text;
        amqp_channel_close_ok_t ok = {0};
        return amqp_send_method(connection, frame.channel, AMQP_CHANNEL_CLOSE_OK_METHOD, &ok);
    }
    case AMQP_CONNECTION_CLOSE_METHOD: {
        event->kind = tandem_amqp_connection_closed;
        event->code = ((const amqp_connection_close_t *)decoded)->reply_code;
        event->text = ((const amqp_connection_close_t *)decoded)->reply_text;
        amqp_connection_close_ok_t ok = {0};
        (void)amqp_send_method(connection, 0, AMQP_CONNECTION_CLOSE_OK_METHOD, &ok);
        return AMQP_STATUS_OK;
    }
    case AMQP_CONNECTION_BLOCKED_METHOD:
        event->kind = tandem_amqp_blocked;
        event->text = ((const amqp_connection_blocked_t *)decoded)->reason;
        return AMQP_STATUS_OK;
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        event->kind = tandem_amqp_unblocked;
        return AMQP_STATUS_OK;
    default:
        return AMQP_STATUS_OK;
    }
    amqp_rpc_reply_t read = amqp_read_message(connection, frame.channel, &event->message, 0);
    if (read.reply_type == AMQP_RESPONSE_NORMAL) {
        event->has_message = true;
        return AMQP_STATUS_OK;
    }
    return read.reply_type == AMQP_RESPONSE_LIBRARY_EXCEPTION ? read.library_error : AMQP_STATUS_CONNECTION_CLOSED;
}

/* Waits until the server has sent something, `wake` (an eventfd, or -1) is readable or, where asked for, the socket takes data; at most so
   many milliseconds. To be called only after tandem_amqp_next(…, 0, …) answered `nothing`: what the library (or TLS) has already read is
   not seen here. Answers -1 (errno: EINTR), or bits: 1 the server, 2 the eventfd, 4 writable. */
static inline int tandem_amqp_wait(amqp_connection_state_t connection, int wake, bool writable, int milliseconds) {
    struct pollfd fds[2] = {
        {.fd = amqp_get_sockfd(connection), .events = (short)(POLLIN | (writable ? POLLOUT : 0))}, {.fd = wake, .events = POLLIN}};
    int count = poll(fds, wake >= 0 ? 2 : 1, milliseconds);
    if (count < 0) { return -1; }
    return (fds[0].revents & ~POLLOUT ? 1 : 0) | (wake >= 0 && fds[1].revents ? 2 : 0) | (fds[0].revents & POLLOUT ? 4 : 0);
}

/* What wakes the thread that waits: made once, written to by whoever has something for it, and emptied by it. */
static inline int tandem_wake_make(void) { return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC); }

static inline void tandem_wake_up(int wake) {
    uint64_t one = 1;
    ssize_t written = write(wake, &one, sizeof one);
    (void)written;
}

static inline void tandem_wake_empty(int wake) {
    uint64_t value;
    ssize_t count = read(wake, &value, sizeof value);
    (void)count;
}

/* Waits until `wake` is readable; without a connection there is nothing else to wait for. */
static inline void tandem_wake_wait(int wake) {
    struct pollfd fd = {.fd = wake, .events = POLLIN};
    (void)poll(&fd, 1, -1);
}

#endif
