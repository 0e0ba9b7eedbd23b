import Foundation
import Glibc
import Synchronization

/// Finds the addresses of names before libpq does: its own search blocks for as long as the system's resolver likes, whatever the time for a connection is.
///
/// Each name is searched for on a thread of its own, once at a time; whoever waits for it leaves when his time is over, and the thread ends with the search.
final class HostResolver: Sendable {
    /// Gives the addresses of a name, however long that takes; none where it has none.
    typealias Search = @Sendable (String) -> [String]

    static let system = HostResolver(searching: systemSearch)

    private let search: Search
    private let searches = Mutex<[String: Pending]>([:])

    init(searching search: @escaping Search) { self.search = search }

    /// The addresses of a name.
    ///
    /// - Parameters:
    ///   - name: The name.
    ///   - limit: How long to wait.
    /// - Returns: The addresses, none where the name has none; nil where the time was over first.
    func addresses(of name: String, within limit: Duration) -> [String]? {
        let (pending, isNew) = searches.withLock { searches in
            if let pending = searches[name] { return (pending, false) }
            let pending = Pending()
            searches[name] = pending
            return (pending, true)
        }
        if isNew {
            Thread.detachNewThread { [self] in
                let found = search(name)
                searches.withLock { $0[name] = nil }
                pending.finish(found)
            }
        }
        return pending.wait(limit)
    }

    /// A search on its way.
    private final class Pending: Sendable {
        private let condition = NSCondition()
        private let found = Mutex<[String]?>(nil)

        func finish(_ addresses: [String]) {
            condition.lock()
            defer { condition.unlock() }
            found.withLock { $0 = addresses }
            condition.broadcast()
        }

        func wait(_ limit: Duration) -> [String]? {
            let end = Date(timeIntervalSinceNow: Double(limit.components.seconds) + Double(limit.components.attoseconds) / 1e18)
            condition.lock()
            defer { condition.unlock() }
            while true {
                if let addresses = found.withLock({ $0 }) { return addresses }
                guard condition.wait(until: end) else { return found.withLock { $0 } }
            }
        }
    }
}

private func systemSearch(_ name: String) -> [String] {
    var hints = addrinfo()
    hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
    var list: UnsafeMutablePointer<addrinfo>?
    guard getaddrinfo(name, nil, &hints, &list) == 0 else { return [] }
    defer { freeaddrinfo(list) }
    return sequence(first: list, next: { $0?.pointee.ai_next }).compactMap { entry in
        guard let entry = entry?.pointee else { return nil }
        var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        guard getnameinfo(entry.ai_addr, entry.ai_addrlen, &text, socklen_t(text.count), nil, 0, NI_NUMERICHOST) == 0 else { return nil }
        return text.withUnsafeBufferPointer { $0.baseAddress.map { String(cString: $0) } }
    }
}
