import Glibc

/// The machine's monotonic clock, by which events of several processes can be ordered.
enum MonotonicTime {
    /// Nanoseconds.
    static var now: Int64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }
}
