import Foundation
import Glibc
import TandemCore
import TandemLocal
import TandemTestSupport
import Testing

@testable import TandemPostgres

@Suite("Connecting")
struct ConnectingTests {
    private func connects(_ conninfo: String, password: String? = nil) async throws {
        let session = try await RawSession.open(conninfo, password: password)
        #expect(try await session.value("SELECT current_database()") == "tandem")
        await session.close()
    }

    @Test("works with key=value words over TCP and with a password file")
    func words() async throws { try await connects(try await firstNode().conninfo) }

    @Test("works over a Unix socket")
    func socket() async throws { try await connects(try await firstNode().socketConninfo) }

    @Test("works with a URL, the password in it")
    func url() async throws { try await connects("\(try await firstNode().url)?sslmode=disable") }

    @Test("works with a URL over a Unix socket")
    func socketURL() async throws {
        let node = try await firstNode()
        let folder = node.socketDirectory.addingPercentEncoding(withAllowedCharacters: .alphanumerics) ?? ""
        try await connects("postgresql://\(node.user):\(node.password)@\(folder):\(node.port)/\(node.database)")
    }

    @Test("works with a password of its own")
    func password() async throws {
        let node = try await firstNode()
        try await connects("host=127.0.0.1 port=\(node.port) dbname=tandem user=\(node.user)", password: node.password)
    }

    @Test("works with a service file")
    func service() async throws {
        let node = try await firstNode()
        let file: String = "\(NSTemporaryDirectory())/tandem-service-\(UUID().uuidString).conf"
        let text = "[bank]\nhost=127.0.0.1\nport=\(node.port)\ndbname=tandem\nuser=\(node.user)\npassfile=\(node.passfile)\n"
        try text.write(toFile: file, atomically: true, encoding: .utf8)
        defer { unlink(file) }
        // libpq 15 finds the file by the environment only, which belongs to the whole process.
        await #expect(processExitsWith: .success) { [file = file as String] in
            setenv("PGSERVICEFILE", file, 1)
            let session = try await RawSession.open("service=bank")
            #expect(try await session.value("SELECT current_database()") == "tandem")
        }
    }

    @Test("tries the next of several hosts")
    func hosts() async throws {
        let node = try await firstNode()
        try await connects(
            "host=127.0.0.1,127.0.0.1 port=1,\(node.port) dbname=tandem user=\(node.user) passfile='\(node.passfile)' target_session_attrs=read-write")
    }

    @Test("keeps the caller's own options beside ours")
    func options() async throws {
        let session = try await RawSession.open(
            ConnectionParameters(conninfo: "\(try await firstNode().conninfo) options='-c work_mem=7MB'"))
        #expect(try await session.value("SELECT current_setting('work_mem')") == "7MB")
        #expect(try await session.value("SELECT current_setting('client_connection_check_interval')") == "2s")
        await session.close()
    }

    @Test("a role's own defaults do not decide how our sessions run")
    func pinned() async throws {
        let node = try await firstNode()
        let role = "odd_\(UUID().uuidString.prefix(8).lowercased())"
        try await sql(
            node.superuserConninfo, "CREATE ROLE \(role) LOGIN PASSWORD 'x'", "ALTER ROLE \(role) SET default_transaction_isolation = 'repeatable read'",
            "ALTER ROLE \(role) SET default_transaction_read_only = on", "ALTER ROLE \(role) SET lock_timeout = '1s'",
            "ALTER ROLE \(role) SET statement_timeout = '1s'", "ALTER ROLE \(role) SET DateStyle = 'German'",
            "ALTER ROLE \(role) SET IntervalStyle = 'iso_8601'",
            "ALTER ROLE \(role) SET client_encoding = 'LATIN1'", "ALTER ROLE \(role) SET bytea_output = 'escape'",
            "ALTER ROLE \(role) SET standard_conforming_strings = off", "ALTER ROLE \(role) SET client_min_messages = error")
        let session = try await RawSession.open(
            ConnectionParameters(conninfo: "host=127.0.0.1 port=\(node.port) dbname=tandem user=\(role)", password: "x"))
        for (name, value) in ConnectionParameters.pinned + [("client_encoding", "UTF8")] {
            // As the server shows it, units and all.
            let shown = try await session.value("SELECT setting FROM pg_settings WHERE name = '\(name)'")
            #expect(shown == (value == "ISO, MDY" ? "ISO, MDY" : value), "\(name)")
        }
        await session.close()
        try await sql(node.superuserConninfo, "DROP ROLE \(role)")
    }

    @Test("a wrong password fails at once and says so")
    func wrongPassword() async throws {
        let node = try await firstNode()
        let error = await #expect(throws: TandemError.self) {
            _ = try await RawSession.open("host=127.0.0.1 port=\(node.port) dbname=tandem user=\(node.user)", password: "wrong")
        }
        #expect(error?.code == .authenticationFailed && error?.isRetrySafe == false)
    }

    @Test("an unknown user fails as a wrong password does")
    func unknownUser() async throws {
        let node = try await firstNode()
        let error = await #expect(throws: TandemError.self) {
            _ = try await RawSession.open("host=127.0.0.1 port=\(node.port) dbname=tandem user=nobody_of_this_name", password: "x")
        }
        #expect(error?.code == .authenticationFailed)
    }

    @Test("a missing database fails at once and says so")
    func missingDatabase() async throws {
        let conninfo = "\(try await firstNode().conninfo) dbname=not_here"
        let error = await #expect(throws: TandemError.self) { _ = try await RawSession.open(conninfo) }
        #expect(error?.code == .databaseMissing && error?.isRetrySafe == false)
    }

    @Test("a host that refuses fails at once, and a retry is safe")
    func unreachable() async throws {
        let error = await #expect(throws: TandemError.self) { _ = try await RawSession.open("host=127.0.0.1 port=1 dbname=x user=x") }
        #expect(error?.code == .nodeUnreachable && error?.isRetrySafe == true)
    }

    @Test("a server that does not answer is given up after the connect timeout")
    func silent() async throws {
        // A socket that listens and never accepts: the connection is made, the answer never comes.
        let listener = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        defer { close(listener) }
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var size = socklen_t(MemoryLayout<sockaddr_in>.size)
        let port: UInt16 = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                guard bind(listener, address, size) == 0, listen(listener, 8) == 0, getsockname(listener, address, &size) == 0 else { return 0 }
                return address.withMemoryRebound(to: sockaddr_in.self, capacity: 1) { UInt16(bigEndian: $0.pointee.sin_port) }
            }
        }
        try #require(port != 0)
        let error = await #expect(throws: TandemError.self) {
            _ = try await RawSession.open(
                ConnectionParameters(conninfo: "host=127.0.0.1 port=\(port) dbname=x user=x sslmode=disable", connectTimeout: .milliseconds(300)))
        }
        #expect(error?.code == .nodeUnreachable)
    }

    @Test("an error of connecting never shows the password")
    func secrecy() async throws {
        let node = try await firstNode()
        for conninfo in ["postgresql://\(node.user):s3cretly@127.0.0.1:\(node.port)/tandem", "postgresql://u:s3cretly@127.0.0.1:1/tandem"] {
            let error = await #expect(throws: TandemError.self) { _ = try await RawSession.open(conninfo) }
            #expect(error.map { !"\($0)".contains("s3cretly") } == true)
        }
    }
}
