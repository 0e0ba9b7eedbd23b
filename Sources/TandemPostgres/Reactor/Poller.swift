import CLibPQ
import Glibc

/// What the operating system offers to wait for sockets: the one file that a port to another system replaces.
protocol Poller: AnyObject {
    /// Watches `fd` for input; `token` comes back with its events.
    func add(_ fd: Int32, token: UInt64)
    /// Changes what is watched: input, room to write, both or neither.
    func modify(_ fd: Int32, token: UInt64, wantsRead: Bool, wantsWrite: Bool)
    func remove(_ fd: Int32)
    /// Waits at most `milliseconds` (-1: without end) and calls `ready` for each watched socket that can go on.
    func wait(milliseconds: Int32, ready: (_ token: UInt64) -> Void)
    /// Ends a `wait` that another thread is in, or the next one. Any thread may call it.
    func wake()
}

/// Level-triggered epoll with an eventfd for wake-ups.
///
/// Sockets stay registered for input for as long as their connection lives: a round trip then costs no `epoll_ctl`, and a server that
/// closes an idle connection is noticed at once.
final class Epoll: Poller {
    private static let wakeToken = UInt64.max
    private static let batch = 256

    private let epoll: Int32
    private let event: Int32
    private let events: UnsafeMutablePointer<epoll_event>

    init() {
        epoll = tandem_epoll_create()
        event = tandem_eventfd()
        precondition(epoll >= 0 && event >= 0, "no file descriptors left for a reactor")
        events = .allocate(capacity: Self.batch)
        let added = tandem_epoll_add(epoll, event, tandem_epoll_in, Self.wakeToken)
        precondition(added == 0, "epoll refused the reactor's own event")
    }

    deinit {
        close(event)
        close(epoll)
        events.deallocate()
    }

    func add(_ fd: Int32, token: UInt64) {
        _ = tandem_epoll_add(epoll, fd, tandem_epoll_in, token)
    }

    func modify(_ fd: Int32, token: UInt64, wantsRead: Bool, wantsWrite: Bool) {
        let events = (wantsRead ? tandem_epoll_in : 0) | (wantsWrite ? tandem_epoll_out : 0)
        _ = tandem_epoll_modify(epoll, fd, events, token)
    }

    func remove(_ fd: Int32) {
        _ = tandem_epoll_remove(epoll, fd)
    }

    func wait(milliseconds: Int32, ready: (UInt64) -> Void) {
        let count = epoll_wait(epoll, events, Int32(Self.batch), milliseconds)
        guard count > 0 else { return }
        for index in 0..<Int(count) {
            let token = tandem_epoll_token(events + index)
            if token == Self.wakeToken {
                var value: UInt64 = 0
                _ = read(event, &value, 8)
            } else {
                ready(token)
            }
        }
    }

    func wake() {
        var one: UInt64 = 1
        _ = write(event, &one, 8)
    }
}
