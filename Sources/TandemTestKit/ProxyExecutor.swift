import NIOCore
import NIOPosix

/// Runs what proxies do on a thread of SwiftNIO: a network does not slow down because the program that is tested computes.
///
/// On the threads that all tasks share, a proxy stands still while as many tasks compute as there are processors.
final class ProxyExecutor: TaskExecutor {
    static let shared = ProxyExecutor()

    private let loop = MultiThreadedEventLoopGroup.singleton.next()

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        loop.execute { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
