#if TSAN
    package import Glibc
#else
    package import Synchronization
#endif

/// A value behind a lock, in one object.
///
/// `Synchronization.Mutex` gives false reports under ThreadSanitizer on Linux: there, build with `-Xswiftc -DTSAN`, and a pthread mutex takes its place.
package final class Locked<State>: @unchecked Sendable {
    #if TSAN
        @usableFromInline package let mutex: UnsafeMutablePointer<pthread_mutex_t>
    #else
        @usableFromInline package let mutex = Mutex<Void>(())
    #endif
    @usableFromInline package var state: State

    /// A value that only ``withLock(_:)`` reaches.
    @inlinable
    package init(_ state: sending State) {
        self.state = state
        #if TSAN
            mutex = .allocate(capacity: 1)
            pthread_mutex_init(mutex, nil)
        #endif
    }

    #if TSAN
        deinit {
            pthread_mutex_destroy(mutex)
            mutex.deallocate()
        }
    #endif

    /// Runs `body` with the state, alone.
    @inlinable
    package func withLock<R, E: Error>(_ body: (inout State) throws(E) -> R) throws(E) -> R {
        #if TSAN
            pthread_mutex_lock(mutex)
            defer { pthread_mutex_unlock(mutex) }
        #else
            // `Mutex.withLock` hands out only what may be sent anywhere, which is more than is asked here.
            mutex._unsafeLock()
            defer { mutex._unsafeUnlock() }
        #endif
        return try body(&state)
    }
}
