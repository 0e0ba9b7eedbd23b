import TandemCore

/// The hosts of a connection string with their addresses: a name with several becomes several hosts, which libpq tries in turn as it would have itself.
struct HostAddresses {
    /// What is added to the caller's own words; nothing where no name has to be searched for.
    let words: [(keyword: String, value: String)]

    /// - Parameters:
    ///   - words: What the connection string and its surroundings say.
    ///   - resolver: Finds addresses.
    ///   - limit: How long the search may take.
    /// - Throws: ``Failure`` where no host has an address, or where the time was over.
    init(_ words: ConnectionWords, resolver: HostResolver, within limit: Duration) throws(Failure) {
        let names = words.list("host", "PGHOST"), ports = words.list("port", "PGPORT")
        // Who names addresses has searched himself; and a list of ports that does not fit is for libpq to refuse.
        guard !words.hasUnknownService, words["hostaddr", "PGHOSTADDR"] == nil, names.contains(where: Self.isName),
            ports.count <= 1 || ports.count == names.count
        else {
            self.words = []
            return
        }
        let end = ContinuousClock.now + limit
        var left = names.count(where: Self.isName)
        var late: [String] = []
        var hosts: [(name: String, address: String, port: String)] = []
        for (index, name) in names.enumerated() {
            let port = ports.count > 1 ? ports[index] : ""
            guard Self.isName(name) else {
                hosts.append((name, "", port))
                continue
            }
            // Each has its part of the time, and connecting has one: a name that nobody finds must not keep the others from being tried.
            if let addresses = resolver.addresses(of: name, within: max(.zero, end - .now) / (left + 1)) {
                hosts += addresses.map { (name, $0, port) }
            } else {
                late.append(name)
            }
            left -= 1
        }
        if hosts.isEmpty, !late.isEmpty { throw Failure(reason: "the address of \(late.joined(separator: ", ")) was not found in time") }
        guard !hosts.isEmpty else { throw Failure(reason: "no address is known for \(names.joined(separator: ", "))") }
        var list = [("host", hosts.map(\.name).joined(separator: ",")), ("hostaddr", hosts.map(\.address).joined(separator: ","))]
        if ports.count > 1 { list.append(("port", hosts.map(\.port).joined(separator: ","))) }
        self.words = list.map { (keyword: $0.0, value: $0.1) }
    }

    /// Why there is nothing to connect to.
    struct Failure: Error {
        let reason: String
    }

    /// Whether a host has to be searched for: it is neither a socket nor an address.
    private static func isName(_ host: String) -> Bool {
        if host.isEmpty || host.hasPrefix("/") || host.hasPrefix("@") || host.contains(":") { return false }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return !(parts.count == 4 && parts.allSatisfy { UInt8($0) != nil })
    }
}
