import Glibc
import UnixSignals

/// SIGINT and SIGTERM, which ask a command to end in order.
enum Interruption {
    /// Runs `body` and cancels it at the first signal; what `body` then does decides how the command ends. A second signal ends the program at
    /// once.
    static func cancelling<Value: Sendable>(_ talk: String, _ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
        let signals = await UnixSignalsSequence(trapping: .sigint, .sigterm)
        return try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                for await _ in signals {
                    // From here on the system's own action holds: whoever insists is not made to wait.
                    signal(SIGINT, SIG_DFL)
                    signal(SIGTERM, SIG_DFL)
                    Talk.say(talk)
                    break
                }
                return nil
            }
            while let next = try await group.next() {
                group.cancelAll()
                if let value = next { return value }
            }
            throw CancellationError()
        }
    }
}
