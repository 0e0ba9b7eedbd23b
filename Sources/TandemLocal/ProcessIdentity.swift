import Foundation
import Glibc

/// One process for good: a process id alone comes back after its process has ended, or after a reboot.
struct ProcessIdentity: Codable, Equatable, Sendable {
    let processID: Int32
    let startTime: String
    let boot: String

    /// Nil for a process that has ended, a zombie included.
    init?(_ process: pid_t) {
        let fields = statusFields(of: process)
        guard fields.count > 19, fields[0] != "Z", fields[0] != "X" else { return nil }
        processID = process
        startTime = String(fields[19])
        boot = lines(of: "/proc/sys/kernel/random/boot_id").first ?? ""
    }

    var isAlive: Bool { ProcessIdentity(processID) == self }
}
