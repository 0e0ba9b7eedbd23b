import Synchronization
package import TandemLocal

extension LocalRabbitMQ {
    private static let started = Mutex<Result<LocalRabbitMQ, any Error>?>(nil)

    /// The one that the tests of a process share; started by whoever asks first. Whoever kills one starts his own.
    package static func shared() throws -> LocalRabbitMQ {
        try started.withLock { started in
            let result = started ?? Result { try LocalRabbitMQ() }
            started = result
            return try result.get()
        }
    }
}
