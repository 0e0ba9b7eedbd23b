import Synchronization
package import TandemLocal

extension LocalRabbitMQ {
    private static let started = Mutex<Task<LocalRabbitMQ, any Error>?>(nil)

    /// The one that the tests of a process share; started by whoever asks first. Whoever kills one starts his own.
    package static func shared() async throws -> LocalRabbitMQ {
        let start = started.withLock { started in
            let start = started ?? Task { try await LocalRabbitMQ.start(withTLS: true) }
            started = start
            return start
        }
        return try await start.value
    }
}
