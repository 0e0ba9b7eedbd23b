import CLibPQ
import Dispatch
import Glibc
import HeapModule
import Synchronization

/// One thread that waits for sockets and runs the tasks that prefer it: a round trip to a server costs no change of thread.
///
/// Whatever is *confined* to a reactor (connections, pools, admission) is touched on its thread only, through ``execute(_:)``.
/// A task that prefers the reactor (`withTaskExecutorPreference`) runs between two polls, on the same thread.
///
/// What if you block here? Every connection of the reactor stands still for that long. A stretch of more than 50 ms without a poll is
/// counted in ``longJobs``; work that blocks or computes for long belongs on another executor.
package final class Reactor: TaskExecutor, @unchecked Sendable {
    /// Called on the reactor's thread when a registered socket can go on.
    package typealias Ready = () -> Void

    private enum Work {
        case job(UnownedJob)
        case closure(() -> Void)
    }

    private struct Mailbox {
        var work: [Work] = []
        var isWakePending = false
        var isStopping = false
    }

    private struct Timer: Comparable {
        let deadline: ContinuousClock.Instant
        let number: UInt64
        let fire: () -> Void

        static func < (a: Timer, b: Timer) -> Bool {
            a.deadline == b.deadline ? a.number < b.number : a.deadline < b.deadline
        }

        static func == (a: Timer, b: Timer) -> Bool { a.number == b.number }
    }

    /// A stretch without a poll that is worth a warning.
    package static let longJob = Duration.milliseconds(50)

    private static let roundsPerPoll = 16

    package let name: String
    private let poller: any Poller = Epoll()
    private let mailbox = Locked(Mailbox())
    private let thread = Atomic<UInt>(0)
    private let longJobCount = Atomic<Int>(0)

    // Confined to the reactor's thread.
    private var local: [Work] = []
    private var running: [Work] = []
    private var timers = Heap<Timer>()
    private var timerNumber: UInt64 = 0
    private var handlers: [UInt64: Ready] = [:]
    private var handlerNumber: UInt64 = 0
    private var turnStarted = ContinuousClock.now

    package init(name: String) {
        self.name = name
        let started = DispatchSemaphore(value: 0)
        let box = Unmanaged.passRetained(StartBox(reactor: self, started: started)).toOpaque()
        var handle = pthread_t()
        let failure = pthread_create(&handle, nil, { Reactor.main($0) }, box)
        precondition(failure == 0, "no thread left for a reactor")
        pthread_detach(handle)
        started.wait()
    }

    private final class StartBox {
        let reactor: Reactor
        let started: DispatchSemaphore
        init(reactor: Reactor, started: DispatchSemaphore) {
            self.reactor = reactor
            self.started = started
        }
    }

    private static func main(_ raw: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
        guard let raw else { return nil }
        let box = Unmanaged<StartBox>.fromOpaque(raw).takeRetainedValue()
        let reactor = box.reactor
        reactor.thread.store(UInt(pthread_self()), ordering: .releasing)
        tandem_name_thread(String(reactor.name.prefix(15)))
        box.started.signal()
        reactor.loop()
        return nil
    }

    /// Whether the caller runs on the reactor's thread.
    package var isCurrent: Bool { thread.load(ordering: .relaxed) == UInt(pthread_self()) }

    /// How many times the thread went longer than ``longJob`` without a poll.
    package var longJobs: Int { longJobCount.load(ordering: .relaxed) }

    /// How long the current turn of the loop has been running. Confined.
    package var currentTurn: Duration { ContinuousClock.now - turnStarted }

    // MARK: Work

    package func enqueue(_ job: consuming ExecutorJob) {
        put(.job(UnownedJob(job)))
    }

    /// Runs `body` on the reactor's thread: at once when the caller is already there, otherwise soon.
    package func execute(_ body: sending @escaping () -> Void) {
        if isCurrent { body() } else { put(.closure(body)) }
    }

    /// Runs `body` on the reactor's thread in a later turn, even when the caller is there.
    package func later(_ body: sending @escaping () -> Void) {
        put(.closure(body))
    }

    private func put(_ work: Work) {
        if isCurrent {
            local.append(work)
            return
        }
        let mustWake = mailbox.withLock { mailbox in
            mailbox.work.append(work)
            defer { mailbox.isWakePending = true }
            return !mailbox.isWakePending
        }
        if mustWake { poller.wake() }
    }

    /// Ends the thread once what is queued has run. The last owner of the reactor calls it.
    package func stop() {
        mailbox.withLock { $0.isStopping = true }
        poller.wake()
    }

    private func loop() {
        let executor = asUnownedTaskExecutor()
        while true {
            turnStarted = ContinuousClock.now
            fireTimers()
            // A few rounds without a poll, since one job often readies the next; bounded, so that sockets are never starved.
            var rounds = 0
            while !local.isEmpty && rounds < Self.roundsPerPoll {
                rounds += 1
                swap(&local, &running)
                for work in running {
                    switch work {
                    case .job(let job): job.runSynchronously(on: executor)
                    case .closure(let body): body()
                    }
                }
                running.removeAll(keepingCapacity: true)
            }
            let isStopping = mailbox.withLock { mailbox in
                local.append(contentsOf: mailbox.work)
                mailbox.work.removeAll(keepingCapacity: true)
                mailbox.isWakePending = false
                return mailbox.isStopping
            }
            if isStopping && local.isEmpty { return }
            if currentTurn > Self.longJob { longJobCount.add(1, ordering: .relaxed) }
            poller.wait(milliseconds: patience()) { handlers[$0]?() }
        }
    }

    private func patience() -> Int32 {
        if !local.isEmpty { return 0 }
        guard let next = timers.min else { return -1 }
        let left = next.deadline - ContinuousClock.now
        if left <= .zero { return 0 }
        let (seconds, attoseconds) = left.components
        return Int32(clamping: seconds.multipliedReportingOverflow(by: 1000).partialValue + attoseconds / 1_000_000_000_000_000 + 1)
    }

    // MARK: Sockets (confined)

    /// Watches a socket until ``unregister(_:fd:)``; `ready` runs whenever there is input, an error, or room to write if asked for.
    package func register(fd: Int32, _ ready: @escaping Ready) -> UInt64 {
        handlerNumber += 1
        handlers[handlerNumber] = ready
        poller.add(fd, token: handlerNumber)
        return handlerNumber
    }

    /// Changes what a socket is watched for. Without input a server that sends faster than its reader reads has to wait.
    package func watch(token: UInt64, fd: Int32, wantsRead: Bool, wantsWrite: Bool) {
        poller.modify(fd, token: token, wantsRead: wantsRead, wantsWrite: wantsWrite)
    }

    package func unregister(_ token: UInt64, fd: Int32) {
        handlers[token] = nil
        poller.remove(fd)
    }

    // MARK: Timers (confined)

    /// Calls `fire` on the reactor's thread at or after `deadline`. There is no cancelling: whoever is called looks whether it still matters.
    package func schedule(at deadline: ContinuousClock.Instant, _ fire: @escaping () -> Void) {
        timerNumber += 1
        timers.insert(Timer(deadline: deadline, number: timerNumber, fire: fire))
    }

    private func fireTimers() {
        guard let first = timers.min, first.deadline <= turnStarted else { return }
        while let next = timers.min, next.deadline <= turnStarted {
            timers.removeMin()
            next.fire()
        }
    }
}
