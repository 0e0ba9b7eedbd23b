import Foundation
import TandemCluster
import TandemCore
import TandemPostgres

/// Makes a cluster's configuration of the file's sections.
struct ClusterReader {
    let sections: LocatedNode.Section
    let folder: String
    let environment: [String: String]

    private static let times = ["lockTimeout", "statementTimeout", "idleInTransactionTimeout", "connectTimeout"]
    private static let shared = times + ["pool", "pooler", "role", "commitPointStrength"]
    private static let own = ["conninfo", "password", "passwordEnv", "passwordFile"]

    func read() throws -> ClusterConfiguration {
        let name = try sections.required("cluster")
        let cluster = try ClusterName.read(name)
        let nodes = try nodes()
        var configuration: ClusterConfiguration
        do {
            configuration = try ClusterConfiguration(cluster, nodes: nodes)
        } catch let error as TandemError {
            throw sections.place.error(error.message, next: error.nextStep)
        }
        if let value = sections["retention"] { configuration.retention = try value.duration() }
        if let value = sections["reactors"] { configuration.reactors = try value.integer(in: 1...64) }
        if let value = sections["preparedReserve"] { configuration.preparedReserve = try value.integer(in: 0...262_143) }
        if let recovery = try sections["recovery"]?.section(["interval", "grace", "audit"]) {
            if let value = recovery["interval"] { configuration.recoveryInterval = try value.duration() }
            if let value = recovery["audit"] { configuration.auditInterval = try value.duration() }
            if let value = recovery["grace"] { configuration.recoveryGrace = try value.duration(isZeroAllowed: true) }
        }
        return configuration
    }

    private func nodes() throws -> [NodeConfiguration] {
        let list = try sections.required("nodes")
        let defaults = try sections["defaults"]?.section(Self.shared)
        let entries = try list.entries("nodes by name (`n1:` and below it `conninfo: ...`)")
        guard !entries.isEmpty else { throw list.error("there is no node", next: "name at least one, with its conninfo") }
        return try entries.map { name, place in
            let section = try place.section(Self.own + Self.shared)
            var node = NodeConfiguration(try Self.nodeName(name, place), conninfo: try conninfo(section), password: try password(section))
            if let defaults { try read(defaults, into: &node) }
            try read(section, into: &node)
            return node
        }
    }

    private static func nodeName(_ name: String, _ place: LocatedNode) throws -> NodeName {
        do {
            return try NodeName(name)
        } catch {
            throw place.error(error.description, next: "choose such a name")
        }
    }

    private func read(_ section: LocatedNode.Section, into node: inout NodeConfiguration) throws {
        if let value = section["lockTimeout"] { node.lockTimeout = try value.duration() }
        if let value = section["statementTimeout"] { node.statementTimeout = try value.duration() }
        if let value = section["idleInTransactionTimeout"] { node.idleInTransactionTimeout = try value.duration() }
        if let value = section["connectTimeout"] { node.connectTimeout = try value.duration() }
        if let value = section["role"] { node.role = try value.text("the name of a role") }
        if let value = section["commitPointStrength"] { node.commitPointStrength = try value.integer(in: -1_000_000...1_000_000) }
        if let value = section["pooler"] { node.pooler = try value.choice(Pooler.allCases.map { ($0.rawValue, $0) }) }
        guard let pool = section["pool"] else { return }
        let bounds = try pool.section(["minimum", "maximum", "idleTime"])
        let maximum = try bounds["maximum"]?.integer(in: 1...100_000) ?? node.pool.maximum
        let minimum = try bounds["minimum"]?.integer(in: 0...100_000) ?? min(node.pool.minimum, maximum)
        guard minimum <= maximum else {
            throw (bounds["minimum"] ?? pool).error(
                "the minimum \(minimum) is above the maximum \(maximum)", next: "lower it, or raise the maximum")
        }
        node.pool = PoolOptions(minimum: minimum, maximum: maximum, idleTime: try bounds["idleTime"]?.duration() ?? node.pool.idleTime)
    }

    // MARK: How to get in

    private func conninfo(_ section: LocatedNode.Section) throws -> String {
        let place = try section.required("conninfo")
        let text = try place.text("a connection string of libpq")
        guard let words = ConnectionParameters.parse(text) else {
            throw place.error(
                "libpq cannot read the connection string", next: "write `host=... dbname=... user=...` or `postgresql://user@host/database`"
            )
        }
        guard let passfile = words["passfile"], !passfile.isEmpty, !passfile.hasPrefix("/") else { return text }
        // libpq takes the last of two, and would look below the folder in which the program happens to run.
        return ConnectionString.adding("passfile", absolute(passfile), to: text)
    }

    func password(_ section: LocatedNode.Section) throws -> Secret? { try secret(section, "password") }

    /// What does not stand in a file that everybody reads: `NAME: {env: VARIABLE}`, `NAME: {file: PATH}`, `NAMEEnv: VARIABLE` or `NAMEFile: PATH`.
    func secret(_ section: LocatedNode.Section, _ name: String) throws -> Secret? {
        let places = [name, "\(name)Env", "\(name)File"].compactMap { section[$0] }
        guard let place = places.first else { return nil }
        if places.count > 1 { throw places[1].error("the \(name) is given twice", next: "leave one of \(name), \(name)Env and \(name)File") }
        if section["\(name)Env"] != nil { return try fromEnvironment(place, name) }
        if section["\(name)File"] != nil { return try fromFile(place, name) }
        return try secret(at: place, name)
    }

    /// `{env: VARIABLE}` or `{file: PATH}`; as `isText` the file may have several lines, as a private key has.
    func secret(at place: LocatedNode, _ name: String, isText: Bool = false) throws -> Secret {
        guard place.isSection else {
            let passfile = name == "password" ? ", or name a password file with `passfile=PATH` in conninfo" : ""
            throw place.error(
                "a \(name) does not stand in this file, where everybody reads it",
                next: "write `\(name): {env: NAME}`, `\(name)File: PATH`\(passfile)")
        }
        let source = try place.section(["env", "file"])
        switch (source["env"], source["file"]) {
        case (let variable?, nil): return try fromEnvironment(variable, name)
        case (nil, let file?): return try fromFile(file, name, isText: isText)
        case (nil, nil): throw place.error("it is not said where the \(name) is", next: "write `{env: NAME}` or `{file: PATH}`")
        case (_?, let file?): throw file.error("the \(name) is given twice", next: "leave one of env and file")
        }
    }

    private func fromEnvironment(_ place: LocatedNode, _ name: String) throws -> Secret {
        let variable = try place.text("the name of an environment variable")
        guard let value = environment[variable], !value.isEmpty else {
            throw place.error("the environment variable \(variable) is not set", next: "export it, or let the \(name) be read from a file")
        }
        return Secret(value)
    }

    private func fromFile(_ place: LocatedNode, _ name: String, isText: Bool = false) throws -> Secret {
        let path = absolute(try place.text("the path of a file"))
        guard let data = FileManager.default.contents(atPath: path), let text = String(data: data, encoding: .utf8) else {
            throw place.error("the \(name) file \(path) cannot be read", next: "see whether it is there and who may read it")
        }
        // An editor ends the last line; a secret ends before.
        let line = text.hasSuffix("\r\n") ? text.dropLast() : text.hasSuffix("\n") ? text.dropLast() : text[...]
        guard !line.isEmpty, isText || !line.contains("\n") else {
            throw place.error(
                "the \(name) file \(path) does not hold \(isText ? "anything" : "one line")", next: "write the \(name), and nothing else, into it")
        }
        return Secret(String(line))
    }

    func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : URL(fileURLWithPath: "\(folder)/\(path)").standardizedFileURL.path
    }
}

extension ClusterName {
    fileprivate static func read(_ place: LocatedNode) throws -> ClusterName {
        let text = try place.text("the cluster's name")
        do {
            return try ClusterName(text)
        } catch {
            throw place.error(error.description, next: "choose such a name")
        }
    }
}
