import CLibPQ
import Dispatch

/// What it takes to ask a server to stop a statement, without the connection that runs it.
///
/// `PQcancel` blocks and travels as plain text, so it runs on a small queue of its own and never on a reactor.
final class CancelHandle: @unchecked Sendable {
    private static let queue = DispatchQueue(label: "tandem.cancel", attributes: .concurrent)
    private static let slots = DispatchSemaphore(value: 4)

    // Read-only after it was made, and freed with its last owner.
    private let handle: OpaquePointer?

    init(_ connection: OpaquePointer) {
        handle = PQgetCancel(connection)
    }

    deinit {
        PQfreeCancel(handle)
    }

    /// Asks the server to stop, soon, and does not wait for it. When all slots are taken the request is dropped: the server notices the
    /// closed connection by itself within its `client_connection_check_interval`.
    ///
    /// - Parameter done: called, on whatever thread, when the request has been made or dropped.
    func cancel(then done: @escaping @Sendable () -> Void = {}) {
        guard Self.slots.wait(timeout: .now()) == .success else { return done() }
        Self.queue.async { [self] in
            var reason = [CChar](repeating: 0, count: 256)
            _ = PQcancel(handle, &reason, Int32(reason.count))
            Self.slots.signal()
            done()
        }
    }
}
