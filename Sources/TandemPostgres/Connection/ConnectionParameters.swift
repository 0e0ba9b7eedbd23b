import CLibPQ
import TandemCore

/// Where a node is and how its sessions start: every form that libpq knows, kept by libpq itself.
package struct ConnectionParameters: Sendable {
    /// A connection string in either form of libpq: `host=... dbname=...` or `postgresql://...`.
    package var conninfo: String
    /// The password, when it does not stand in a password file or the environment.
    package var password: String?
    /// Settings that each session starts with (`-c name=value`), which `RESET ALL` goes back to.
    package var settings: [(name: String, value: String)]
    /// The application name of a session that is in no global transaction.
    package var applicationName: String
    /// How long one attempt to connect may take.
    package var connectTimeout: Duration
    /// Whether statements may be prepared under names: a session that is lent for one transaction does not have them in the next one.
    package var keepsStatements = true

    package init(
        conninfo: String, password: String? = nil, settings: [(name: String, value: String)] = ConnectionParameters.pinned,
        applicationName: String = "tandem", connectTimeout: Duration = .seconds(5)
    ) {
        self.conninfo = conninfo
        self.password = password
        self.settings = settings
        self.applicationName = applicationName
        self.connectTimeout = connectTimeout
    }

    /// R4: what a role's or a database's defaults must not decide. Start-up settings win over both.
    package static let pinned: [(name: String, value: String)] = [
        ("default_transaction_isolation", "read committed"),
        ("default_transaction_read_only", "off"),
        ("default_transaction_deferrable", "off"),
        ("lock_timeout", "0"),
        ("statement_timeout", "0"),
        ("client_min_messages", "notice"),
        ("DateStyle", "ISO, MDY"),
        ("IntervalStyle", "postgres"),
        ("bytea_output", "hex"),
        ("extra_float_digits", "1"),
        ("standard_conforming_strings", "on"),
        ("client_connection_check_interval", "2000"),
    ]

    /// The same for a pooler in transaction mode, which takes no start-up options and keeps nothing in a session.
    package var behindPooler: ConnectionParameters {
        var parameters = self
        parameters.settings = []
        parameters.keepsStatements = false
        return parameters
    }

    /// The keywords and values for `PQconnectStartParams`: the caller's conninfo first, so that what follows it wins.
    ///
    /// - Parameter hosts: Where its hosts are.
    /// - Returns: The words, in order.
    func keywords(_ hosts: HostAddresses) -> [(String, String)] {
        var words: [(String, String)] = [("dbname", conninfo)]
        words += hosts.words.map { ($0.keyword, $0.value) }
        words += TransportSecurity(of: conninfo).words.map { ($0.keyword, $0.value) }
        if let password { words.append(("password", password)) }
        let options = settings.map { "-c \($0.name)=\(Self.escaped($0.value))" }.joined(separator: " ")
        if !settings.isEmpty { words.append(("options", ([Self.options(in: conninfo)].compactMap { $0 } + [options]).joined(separator: " "))) }
        words.append(("application_name", applicationName))
        words.append(("client_encoding", "UTF8"))
        words.append(("fallback_application_name", "tandem"))
        return words
    }

    /// Spaces and backslashes inside a start-up option are escaped with a backslash.
    private static func escaped(_ value: String) -> String {
        value.replacing("\\", with: "\\\\").replacing(" ", with: "\\ ")
    }

    private static func options(in conninfo: String) -> String? {
        parse(conninfo)?["options"]
    }

    /// What a connection string sets, by keyword; `nil` when libpq cannot read it.
    package static func parse(_ conninfo: String) -> [String: String]? {
        guard let options = PQconninfoParse(conninfo, nil) else { return nil }
        defer { PQconninfoFree(options) }
        var found: [String: String] = [:]
        var option = options
        while let keyword = option.pointee.keyword {
            if let value = option.pointee.val { found[String(cString: keyword)] = String(cString: value) }
            option += 1
        }
        return found
    }
}
