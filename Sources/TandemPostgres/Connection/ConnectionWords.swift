import Foundation

/// What libpq will take for each of its words: the connection string's value, else the service's, else the environment's.
struct ConnectionWords {
    private let own: [String: String]
    private let service: [String: String]?
    private let environment: [String: String]
    /// Whether a service is named that is not found where we look: it may say anything.
    let hasUnknownService: Bool
    /// The user's folder.
    let home: String

    /// - Parameters:
    ///   - conninfo: The connection string.
    ///   - environment: The variables that libpq reads.
    ///   - read: Reads a file; nil where there is none.
    init(of conninfo: String, environment: [String: String], read: (String) -> String?) {
        self.environment = environment
        own = ConnectionParameters.parse(conninfo) ?? [:]
        home = environment["HOME"] ?? NSHomeDirectory()
        let home = home
        let name = [own["service"], environment["PGSERVICE"]].lazy.compactMap { $0 }.first { !$0.isEmpty }
        service = name.flatMap { Self.section($0, environment, home, read) }
        hasUnknownService = name != nil && service == nil
    }

    /// A word's value: the nearest that is there, be it empty, which then says nothing.
    subscript(keyword: String, variable: String) -> String? {
        (own[keyword] ?? service?[keyword] ?? environment[variable]).flatMap { $0.isEmpty ? nil : $0 }
    }

    /// The values of a list; none where nothing is said.
    func list(_ keyword: String, _ variable: String) -> [String] {
        self[keyword, variable]?.split(separator: ",", omittingEmptySubsequences: false).map(String.init) ?? []
    }

    /// A section of the service file, as libpq finds it on Debian; nil where there is none: the user's file first, then the system's.
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
