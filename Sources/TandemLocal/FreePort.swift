import Glibc
import TandemCore

/// Ports for servers on 127.0.0.1.
///
/// They lie below the range from which the system takes the local ports of outgoing connections. A port out of that range could be taken by
/// some client while its server is down; worse, a client that keeps dialling it would one day get it as its own local port and be connected
/// with itself.
package enum FreePort {
    package static func find(except taken: Set<Int> = []) throws -> Int {
        let range = candidates()
        for _ in 0..<1000 {
            let port = Int.random(in: range)
            if !taken.contains(port), isFree(port) { return port }
        }
        throw TandemError(.localNodeFailed, "no free port on 127.0.0.1 between \(range.lowerBound) and \(range.upperBound)")
    }

    static func isFree(_ port: Int) -> Bool {
        var hints = addrinfo()
        hints.ai_family = AF_INET
        hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV
        var found = hints.ai_next  // nil, of the type that the answer has
        guard getaddrinfo("127.0.0.1", String(port), &hints, &found) == 0, let address = found?.pointee else { return false }
        defer { freeaddrinfo(found) }
        let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var reuse: Int32 = 1  // as PostgreSQL does: connections in TIME_WAIT do not hold a port
        setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &reuse, socklen_t(MemoryLayout<Int32>.size))
        return bind(descriptor, address.ai_addr, address.ai_addrlen) == 0 && listen(descriptor, 1) == 0
    }

    private static func candidates() -> ClosedRange<Int> {
        let first = lines(of: "/proc/sys/net/ipv4/ip_local_port_range").first?.split(separator: "\t").first.flatMap { Int($0) } ?? 32768
        return first > 12000 ? max(first - 20000, 10000)...(first - 1) : 20000...29999
    }
}
