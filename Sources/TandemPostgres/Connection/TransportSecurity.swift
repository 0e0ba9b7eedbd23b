import Foundation

/// How a connection is protected on its way: what the caller says, and what holds where he says nothing.
///
/// libpq's own default, `prefer`, protects from nobody. Where any host is another machine and no `sslmode` is given, be it in the connection string, in a
/// service file or in `PGSSLMODE`, the server has to show a certificate of its own name that a known authority has signed. A weaker mode that is given is
/// used, and the doctor names it.
package struct TransportSecurity: Sendable, Equatable {
    /// The mode that is in force.
    package let mode: String
    /// Whether somebody chose it.
    package let isChosen: Bool
    /// What is added to the caller's own words.
    let words: [Word]

    struct Word: Sendable, Equatable {
        let keyword: String
        let value: String
    }

    /// The authorities of Debian's package ca-certificates.
    private static let systemRoots = "/etc/ssl/certs/ca-certificates.crt"

    /// What holds for a connection string.
    ///
    /// - Parameters:
    ///   - conninfo: the connection string.
    ///   - environment: the variables that libpq reads.
    ///   - read: reads a file; `nil` where there is none.
    package init(
        of conninfo: String, environment: [String: String] = ProcessInfo.processInfo.environment,
        read: (String) -> String? = { try? String(contentsOfFile: $0, encoding: .utf8) }
    ) {
        let own = ConnectionParameters.parse(conninfo) ?? [:]
        let home = environment["HOME"] ?? NSHomeDirectory()
        let serviceName = [own["service"], environment["PGSERVICE"]].lazy.compactMap { $0 }.first { !$0.isEmpty }
        let service = serviceName.flatMap { Self.section($0, environment, home, read) }
        // What is empty says nothing, to libpq neither.
        func value(_ keyword: String, _ variable: String) -> String? {
            [own[keyword], service?[keyword], environment[variable]].lazy.compactMap { $0 }.first { !$0.isEmpty }
        }
        if let mode = value("sslmode", "PGSSLMODE") {
            self.mode = mode
            isChosen = true
            words = []
            return
        }
        isChosen = false
        // A service that is not found where we look may name any host.
        let isUnknown = serviceName != nil && service == nil
        guard isUnknown || Self.hosts(names: value("host", "PGHOST"), addresses: value("hostaddr", "PGHOSTADDR")).contains(where: Self.isElsewhere) else {
            mode = "prefer"
            words = []
            return
        }
        mode = "verify-full"
        var words = [Word(keyword: "sslmode", value: "verify-full")]
        // libpq looks for this file by itself, and refuses to connect where it is not there.
        if value("sslrootcert", "PGSSLROOTCERT") == nil, read("\(home)/.postgresql/root.crt") == nil {
            words.append(Word(keyword: "sslrootcert", value: Self.systemRoots))
        }
        self.words = words
    }

    /// Where libpq connects to: each address, or the name of its place where that is empty.
    private static func hosts(names: String?, addresses: String?) -> [String] {
        let names = (names ?? "").split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        let addresses = (addresses ?? "").split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        return (0..<max(names.count, addresses.count)).map { index in
            let address = index < addresses.count ? addresses[index] : ""
            return address.isEmpty ? (index < names.count ? names[index] : "") : address
        }
    }

    /// Whether what is sent there leaves the machine, as far as its name tells. Without a name it is a socket.
    private static func isElsewhere(_ host: String) -> Bool {
        if host.isEmpty || host.hasPrefix("/") || host.hasPrefix("@") { return false }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        let isLoopback = parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
        return host != "localhost" && host != "::1" && !isLoopback
    }

    /// A section of the service file, as libpq finds it on Debian; `nil` where there is none: the user's file first, then the system's.
    private static func section(
        _ name: String, _ environment: [String: String], _ home: String, _ read: (String) -> String?
    ) -> [String: String]? {
        let files = [environment["PGSERVICEFILE"] ?? "\(home)/.pg_service.conf", "\(environment["PGSYSCONFDIR"] ?? "/etc/postgresql-common")/pg_service.conf"]
        for file in files {
            var isInside = false, isFound = false
            var words: [String: String] = [:]
            for line in (read(file) ?? "").split(whereSeparator: \.isNewline).map({ $0.trimmingCharacters(in: .whitespaces) }) where !line.hasPrefix("#") {
                if line.hasPrefix("[") {
                    isInside = line == "[\(name)]"
                    isFound = isFound || isInside
                } else if isInside, let sign = line.firstIndex(of: "=") {
                    let keyword = String(line[..<sign])
                    if words[keyword] == nil { words[keyword] = String(line[line.index(after: sign)...]) }
                }
            }
            if isFound { return words }
        }
        return nil
    }
}
