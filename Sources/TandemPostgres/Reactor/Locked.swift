package import Glibc

/// A value behind a lock.
///
/// A pthread mutex on purpose: `Synchronization.Mutex` gives false reports under ThreadSanitizer on Linux, and two ways to lock would
/// be one too many.
package final class Locked<State>: @unchecked Sendable {
    @usableFromInline package let mutex: UnsafeMutablePointer<pthread_mutex_t>
    @usableFromInline package var state: State

    /// A value that only ``withLock(_:)`` reaches.
    @inlinable
    package init(_ state: sending State) {
        self.state = state
        mutex = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
    }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// Runs `body` with the state, alone.
    @inlinable
    package func withLock<R, E: Error>(_ body: (inout State) throws(E) -> R) throws(E) -> R {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&state)
    }
}
