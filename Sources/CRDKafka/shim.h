#ifndef TANDEM_CRDKAFKA_SHIM_H
#define TANDEM_CRDKAFKA_SHIM_H

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* rd_kafka_producev is variadic, and rd_kafka_produceva takes an array of tagged unions: filled here rather than in Swift.

   Key and value are copied before this returns. A key of NULL is none, which lets the partitioner choose. The headers are taken over when and only when
   the answer is RD_KAFKA_RESP_ERR_NO_ERROR; otherwise they are still the caller's to destroy. `token` comes back with the delivery report
   (tandem_kafka_token). Never blocks: with a full queue it answers RD_KAFKA_RESP_ERR__QUEUE_FULL. */
static inline rd_kafka_resp_err_t tandem_kafka_produce(
    rd_kafka_t *client, const char *topic, const void *key, size_t key_count, const void *value, size_t value_count, rd_kafka_headers_t *headers,
    uint64_t token) {
    rd_kafka_vu_t arguments[7];
    size_t count = 0;
    arguments[count].vtype = RD_KAFKA_VTYPE_TOPIC;
    arguments[count++].u.cstr = topic;
    arguments[count].vtype = RD_KAFKA_VTYPE_PARTITION;
    arguments[count++].u.i32 = RD_KAFKA_PARTITION_UA;
    arguments[count].vtype = RD_KAFKA_VTYPE_MSGFLAGS;
    arguments[count++].u.i = RD_KAFKA_MSG_F_COPY;
    arguments[count].vtype = RD_KAFKA_VTYPE_VALUE;
    /* NULL would be a tombstone. */
    arguments[count].u.mem.ptr = value == NULL ? (void *)"" : (void *)value;
    arguments[count++].u.mem.size = value_count;
    arguments[count].vtype = RD_KAFKA_VTYPE_OPAQUE;
    arguments[count++].u.ptr = (void *)(uintptr_t)token;
    arguments[count].vtype = RD_KAFKA_VTYPE_HEADERS;
    arguments[count++].u.headers = headers;
    if (key != NULL) {
        arguments[count].vtype = RD_KAFKA_VTYPE_KEY;
        arguments[count].u.mem.ptr = (void *)key;
        arguments[count++].u.mem.size = key_count;
    }
    rd_kafka_error_t *error = rd_kafka_produceva(client, arguments, count);
    if (error == NULL) { return RD_KAFKA_RESP_ERR_NO_ERROR; }
    rd_kafka_resp_err_t code = rd_kafka_error_code(error);
    rd_kafka_error_destroy(error);
    return code;
}

static inline uint64_t tandem_kafka_token(const rd_kafka_message_t *message) { return (uint64_t)(uintptr_t)message->_private; }

/* What a thread waits at: an eventfd, which events of the queue make readable, and whoever wants the thread's attention. */
static inline int tandem_kafka_wake_make(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

static inline void tandem_kafka_wake_up(int wake) {
    uint64_t one = 1;
    ssize_t count = write(wake, &one, sizeof one);
    (void)count;
}

/* Each event that comes to the empty queue wakes; the queue is then to be polled until it is empty. */
static inline void tandem_kafka_wake_by(rd_kafka_queue_t *queue, int wake) {
    static const uint64_t one = 1;
    rd_kafka_queue_io_event_enable(queue, wake, &one, sizeof one);
}

/* Waits until it is woken, or for so long; -1: without an end. */
static inline void tandem_kafka_wake_wait(int wake, int milliseconds) {
    struct pollfd waiting = {.fd = wake, .events = POLLIN};
    uint64_t count = 0;
    if (poll(&waiting, 1, milliseconds) > 0) {
        ssize_t read_count = read(wake, &count, sizeof count);
        (void)read_count;
    }
}

/* For tests: `count` requests of one kind (RD_KAFKAP: 0 Produce, 1 Fetch, 22 InitProducerId) fail with the error. Variadic in the library. */
static inline void tandem_kafka_mock_fail(rd_kafka_mock_cluster_t *cluster, int16_t request, size_t count, rd_kafka_resp_err_t error) {
    for (size_t index = 0; index < count; index++) { rd_kafka_mock_push_request_errors_array(cluster, request, 1, &error); }
}

#endif
