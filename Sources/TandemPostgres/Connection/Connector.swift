import CLibPQ
import Foundation
import Glibc
package import Logging
package import TandemCore

/// Establishes connections, off the reactors: name resolution, TLS and SCRAM's key derivation block or compute for milliseconds.
package final class Connector: Sendable {
    /// Attempts that run at a time. One that hangs holds its place until its time is over, so each node has a connector of its own.
    private static let width = 4

    private let parameters: ConnectionParameters
    private let node: NodeName?
    private let queue = OperationQueue()
    private let resolver: HostResolver

    package convenience init(_ parameters: ConnectionParameters, node: NodeName? = nil) { self.init(parameters, node: node, resolver: .system) }

    init(_ parameters: ConnectionParameters, node: NodeName? = nil, resolver: HostResolver) {
        self.parameters = parameters
        self.node = node
        self.resolver = resolver
        queue.maxConcurrentOperationCount = Self.width
    }

    /// Connects, and calls `completion` on the reactor's thread with the connection, registered there, or with the error.
    package func connect(
        on reactor: Reactor, logger: Logger, completion: sending @escaping (Result<Connection, TandemError>) -> Void
    ) {
        let box = Once(completion)
        queue.addOperation { [self] in
            let outcome = attempt()
            reactor.execute {
                box.call(
                    outcome.map {
                        Connection(adopting: $0.pointer, reactor: reactor, logger: logger, keepsStatements: self.parameters.keepsStatements)
                    })
            }
        }
    }

    private struct Established: @unchecked Sendable { let pointer: OpaquePointer }

    /// Carries a closure to the reactor's thread, the only one that calls it.
    private final class Once: @unchecked Sendable {
        private let body: (Result<Connection, TandemError>) -> Void
        init(_ body: @escaping (Result<Connection, TandemError>) -> Void) { self.body = body }
        func call(_ result: Result<Connection, TandemError>) { body(result) }
    }

    private func attempt() -> Result<Established, TandemError> {
        let deadline = ContinuousClock.now + parameters.connectTimeout
        let hosts: HostAddresses
        do {
            let given = ConnectionWords(of: parameters.conninfo, environment: ProcessInfo.processInfo.environment) {
                try? String(contentsOfFile: $0, encoding: .utf8)
            }
            hosts = try HostAddresses(given, resolver: resolver, within: parameters.connectTimeout)
        } catch {
            return .failure(unreachable(error.reason))
        }
        let words = parameters.keywords(hosts)
        let keywords = CStrings(words.map(\.0)), values = CStrings(words.map(\.1))
        guard let connection = PQconnectStartParams(keywords.pointers, values.pointers, 1) else {
            return .failure(TandemError(.nodeUnreachable, "libpq has no memory for a connection", isRetrySafe: true, node: node))
        }
        var step = PGRES_POLLING_WRITING
        while PQstatus(connection) != CONNECTION_BAD {
            if step == PGRES_POLLING_OK { return .success(Established(pointer: connection)) }
            if step == PGRES_POLLING_FAILED { break }
            let left = deadline - .now
            guard left > .zero else {
                PQfinish(connection)
                return .failure(unreachable("no answer within \(parameters.connectTimeout)"))
            }
            var watched = pollfd(fd: PQsocket(connection), events: Int16(step == PGRES_POLLING_READING ? POLLIN : POLLOUT), revents: 0)
            let milliseconds = left.components.seconds * 1000 + left.components.attoseconds / 1_000_000_000_000_000 + 1
            if poll(&watched, 1, Int32(clamping: milliseconds)) > 0 { step = PQconnectPoll(connection) }
        }
        defer { PQfinish(connection) }
        return .failure(failure(String(cString: PQerrorMessage(connection)).trimmed))
    }

    private func unreachable(_ reason: String) -> TandemError {
        TandemError(
            .nodeUnreachable, "cannot connect: \(reason)", isRetrySafe: true, node: node,
            nextStep: "check that the server runs and that its address in the configuration is right")
    }

    /// libpq gives no SQLSTATE for an attempt to connect (it was lost with the result), so the untranslated parts of its message decide.
    private func failure(_ message: String) -> TandemError {
        let text = message.lowercased()
        if text.contains("password authentication failed") || text.contains("no password supplied") || text.contains("pg_hba.conf")
            || text.contains("authentication failed") || (text.contains("role \"") && text.contains("does not exist"))
        {
            return TandemError(
                .authenticationFailed, message, node: node, sqlState: .invalidPassword,
                nextStep: "check user and password (password, passwordFile or a password file) and the server's pg_hba.conf")
        }
        if text.contains("ssl") || text.contains("certificate") {
            return TandemError(
                .nodeUnreachable, "cannot connect: \(message)", node: node,
                nextStep:
                    "a host that is not this machine needs TLS and a certificate of its name: name its authority with sslrootcert=FILE, or choose a sslmode")
        }
        if text.contains("too many clients") || text.contains("too many connections") || text.contains("remaining connection slots are reserved") {
            return TandemError(
                .poolExhausted, message, isRetrySafe: true, node: node, sqlState: .tooManyConnections,
                nextStep: "lower the pools' maximum, or raise max_connections of the server")
        }
        if text.contains("unsupported startup parameter") {
            return TandemError(
                .configurationInvalid, message, node: node,
                nextStep: "a pooler answers: set `pooler: transaction` for the node if it pools transactions, or connect to the server itself")
        }
        if text.contains("database \"") && text.contains("does not exist") {
            return TandemError(
                .databaseMissing, message, node: node, sqlState: .invalidCatalogName, nextStep: "create the database or correct dbname in the configuration")
        }
        return unreachable(message)
    }
}

/// A NULL-terminated array of C strings that lives as long as this value.
private final class CStrings {
    private var storage: [UnsafeMutablePointer<CChar>?]
    let pointers: UnsafeMutablePointer<UnsafePointer<CChar>?>

    init(_ strings: [String]) {
        storage = strings.map { strdup($0) }
        pointers = .allocate(capacity: strings.count + 1)
        for (index, string) in storage.enumerated() { pointers[index] = string.map { UnsafePointer($0) } }
        pointers[strings.count] = nil
    }

    deinit {
        storage.forEach { free($0) }
        pointers.deallocate()
    }
}
