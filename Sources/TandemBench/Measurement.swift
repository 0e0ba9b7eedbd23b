import Glibc

/// One line of one round: what was counted and how long single transactions took.
struct Measurement: Sendable {
    var transactions = 0
    var seconds = 0.0
    /// User and system time of this process while it ran.
    var cpuSeconds = 0.0
    var milliseconds: [Double] = []

    var perSecond: Double { seconds > 0 ? Double(transactions) / seconds : 0 }
    var cpuMicroseconds: Double { transactions > 0 ? cpuSeconds * 1e6 / Double(transactions) : 0 }

    /// Counts another slice of the same line in.
    mutating func add(_ other: Measurement) {
        transactions += other.transactions
        seconds += other.seconds
        cpuSeconds += other.cpuSeconds
        milliseconds += other.milliseconds
    }

    /// A percentile of the latencies, in milliseconds.
    func percentile(_ share: Double) -> Double {
        guard !milliseconds.isEmpty else { return 0 }
        let sorted = milliseconds.sorted()
        return sorted[min(sorted.count - 1, Int(Double(sorted.count) * share))]
    }

    /// User and system time of this process so far, in seconds.
    static func cpuTime() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }

    /// The most memory that this process ever held, in MiB.
    static func peakMemory() -> Double {
        var usage = rusage()
        getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
        return Double(usage.ru_maxrss) / 1024
    }
}

extension [Double] {
    /// The middle of the values.
    var median: Double {
        guard !isEmpty else { return 0 }
        let sorted = self.sorted()
        return count.isMultiple(of: 2) ? (sorted[count / 2 - 1] + sorted[count / 2]) / 2 : sorted[count / 2]
    }
}
