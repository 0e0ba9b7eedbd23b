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
        let given = ConnectionWords(of: conninfo, environment: environment, read: read)
        if let mode = given["sslmode", "PGSSLMODE"] {
            self.mode = mode
            isChosen = true
            words = []
            return
        }
        isChosen = false
        // A service that is not found where we look may name any host.
        guard given.hasUnknownService || Self.hosts(given).contains(where: Self.isElsewhere) else {
            mode = "prefer"
            words = []
            return
        }
        mode = "verify-full"
        var words = [Word(keyword: "sslmode", value: "verify-full")]
        // libpq looks for this file by itself, and refuses to connect where it is not there.
        if given["sslrootcert", "PGSSLROOTCERT"] == nil, read("\(given.home)/.postgresql/root.crt") == nil {
            words.append(Word(keyword: "sslrootcert", value: Self.systemRoots))
        }
        self.words = words
    }

    /// Where libpq connects to: each address, or the name of its place where that is empty.
    private static func hosts(_ given: ConnectionWords) -> [String] {
        let names = given.list("host", "PGHOST"), addresses = given.list("hostaddr", "PGHOSTADDR")
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
}
