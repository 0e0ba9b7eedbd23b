#ifndef TANDEM_CLIBPQ_SHIM_H
#define TANDEM_CLIBPQ_SHIM_H

/* Debian and the PostgreSQL packages install the headers in different folders. */
#if __has_include(<postgresql/libpq-fe.h>)
#include <postgresql/libpq-fe.h>
#else
#include <libpq-fe.h>
#endif

#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

/* Glibc's Swift module has neither epoll nor eventfd; enumerators and the packed event are handed over as plain integers. */
static const uint32_t tandem_epoll_in = EPOLLIN;
static const uint32_t tandem_epoll_out = EPOLLOUT;
static const uint32_t tandem_epoll_error = EPOLLERR | EPOLLHUP | EPOLLRDHUP;

static inline int tandem_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

static inline int tandem_epoll_set(int epoll, int operation, int fd, uint32_t events, uint64_t token) {
    struct epoll_event event = {.events = events, .data = {.u64 = token}};
    return epoll_ctl(epoll, operation, fd, &event);
}

static inline int tandem_epoll_add(int epoll, int fd, uint32_t events, uint64_t token) {
    return tandem_epoll_set(epoll, EPOLL_CTL_ADD, fd, events, token);
}

static inline int tandem_epoll_modify(int epoll, int fd, uint32_t events, uint64_t token) {
    return tandem_epoll_set(epoll, EPOLL_CTL_MOD, fd, events, token);
}

static inline int tandem_epoll_remove(int epoll, int fd) { return tandem_epoll_set(epoll, EPOLL_CTL_DEL, fd, 0, 0); }

static inline uint64_t tandem_epoll_token(const struct epoll_event *event) { return event->data.u64; }

/* How many bytes wait to be read. */
static inline int tandem_readable(int fd) {
    int count = 0;
    return ioctl(fd, FIONREAD, &count) == 0 ? count : 0;
}

/* The calling thread's name, as tools show it: 15 characters. */
static inline int tandem_name_thread(const char *name) { return prctl(PR_SET_NAME, name, 0, 0, 0); }

static inline int tandem_eventfd(void) { return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK); }

#endif
