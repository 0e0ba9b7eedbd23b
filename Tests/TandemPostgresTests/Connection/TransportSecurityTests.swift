import Foundation
import Glibc
import TandemCore
import TandemLocal
import TandemTestSupport
import Testing

@testable import TandemPostgres

@Suite("TLS")
struct TransportSecurityTests {
    private func security(_ conninfo: String, _ environment: [String: String] = [:], files: [String: String] = [:]) -> TransportSecurity {
        TransportSecurity(of: conninfo, environment: environment.merging(["HOME": "/home/x"]) { one, _ in one }, read: { files[$0] })
    }

    @Test(
        "without a mode, another machine has to prove its name",
        arguments: [
            "host=db.example", "host=/run/postgresql,db.example", "host=localhost,10.0.0.1", "host=localhost hostaddr=10.0.0.1", "host=127.evil.example",
            "postgresql://u@db.example:5433/d", "host=::2", "host=127.a.example.com", "host=127.0.0.example", "host=db.example hostaddr=''",
            "hostaddr=',127.0.0.1' host=db.example,x", "service=unknown",
        ])
    func another(conninfo: String) {
        let found = security(conninfo)
        #expect(found.mode == "verify-full" && !found.isChosen)
        #expect(found.words.map(\.keyword) == ["sslmode", "sslrootcert"] && found.words.last?.value == "/etc/ssl/certs/ca-certificates.crt")
    }

    @Test(
        "this machine needs none", arguments: ["host=localhost", "host=/run", "", "hostaddr=127.0.0.1 host=db.example", "host=127.0.0.2,::1", "host=@abstract"])
    func here(conninfo: String) {
        #expect(security(conninfo).mode == "prefer" && security(conninfo).words.isEmpty)
    }

    @Test("a mode that is given counts, wherever it is given, and the nearest first")
    func given() {
        #expect(security("host=db.example sslmode=require").mode == "require")
        #expect(security("host=db.example", ["PGSSLMODE": "prefer"]).mode == "prefer")
        #expect(security("host=db.example", ["PGSSLMODE": "prefer"]).isChosen)
        let files = ["/home/x/.pg_service.conf": "# comment\n[other]\nsslmode=disable\n[bank]\nhost=db.example\nsslmode=allow\n"]
        #expect(security("service=bank", ["PGSSLMODE": "prefer"], files: files).mode == "allow")
        #expect(security("", ["PGSERVICE": "bank"], files: files).mode == "allow")
        #expect(security("service=bank sslmode=require", files: files).mode == "require")
        let silent = ["/etc/postgresql-common/pg_service.conf": "[bank]\nhost=db.example\n"]
        #expect(security("service=bank", files: silent).mode == "verify-full")
        #expect(security("", ["PGHOST": "db.example"]).mode == "verify-full")
    }

    @Test("the authorities are the caller's, else those of the user, else those of the machine")
    func roots() {
        #expect(security("host=db.example sslrootcert=/x.crt").words.map(\.keyword) == ["sslmode"])
        #expect(security("host=db.example", files: ["/home/x/.postgresql/root.crt": "-"]).words.map(\.keyword) == ["sslmode"])
    }

    // MARK: Real servers

    /// Whether the servers that the tests run on were built with TLS: those of a distribution are.
    private static let hasTLS: Bool = {
        guard let folder = ProcessInfo.processInfo.environment["TANDEM_TEST_PG_BIN"], !folder.isEmpty else { return true }
        let process = Process(), output = Pipe()
        process.executableURL = URL(filePath: "\(folder)/pg_config")
        process.arguments = ["--configure"]
        process.standardOutput = output
        guard (try? process.run()) != nil else { return true }
        return String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self).contains("ssl")
    }()

    /// A server with a certificate, and who signed it.
    private struct Server {
        let cluster: LocalCluster
        let authority: String

        func open(_ words: String) async throws -> RawSession {
            let node = cluster.nodes[0]
            return try await RawSession.open("\(words) port=\(node.port) dbname=\(node.database) user=\(node.user) passfile='\(node.passfile)'")
        }
    }

    private func run(_ script: String) throws {
        let process = Process()
        process.executableURL = URL(filePath: "/bin/sh")
        process.arguments = ["-ec", script]
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw TestFailure("openssl failed: \(script)") }
    }

    /// Gives the body a server whose certificate bears a name and ends some days from now.
    private func withServer(name: String?, days: Int = 2, _ body: (Server) async throws -> Void) async throws {
        let folder = "/var/tmp/tandem-tls-\(UUID().uuidString.prefix(8))"
        try run("mkdir -m 755 \(folder)")
        defer { try? FileManager.default.removeItem(atPath: folder) }
        var settings: [String: String] = [:]
        if let name {
            // The subject's name, as a name and as an address where it is one; what ended yesterday began the day before.
            let dates = days > 0 ? "-days \(days)" : "-not_before 20200101000000Z -not_after 20200102000000Z"
            try run(
                """
                cd \(folder)
                openssl req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=authority -days 2
                openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=\(name)
                printf 'subjectAltName=DNS:\(name)' >ext
                if [ \(days) -gt 0 ]; then openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -extfile ext \(dates)
                else mkdir -p demo; : >index; echo 01 >serial
                    printf '[ca]\\ndefault_ca=d\\n[d]\\ndatabase=index\\nserial=serial\\nnew_certs_dir=demo\\ndefault_md=sha256\\npolicy=p\\n[p]\\ncommonName=supplied\\n' >cnf
                    openssl ca -batch -config cnf -in server.csr -cert ca.crt -keyfile ca.key -out server.crt -extfile ext -startdate 20200101000000Z -enddate 20200102000000Z -notext
                fi
                if [ "$(id -u)" -eq 0 ]; then chown postgres server.key; fi
                chmod 600 server.key
                """)
            settings = ["ssl": "on", "ssl_cert_file": "\(folder)/server.crt", "ssl_key_file": "\(folder)/server.key"]
        }
        var options = LocalClusterOptions(directory: "\(folder)/nodes", nodeCount: 1, isEphemeral: true, settings: settings)
        options.fsync = false
        let cluster = try await LocalCluster.start(options)
        do { try await body(Server(cluster: cluster, authority: "\(folder)/ca.crt")) } catch {
            try? await cluster.stop()
            throw error
        }
        try await cluster.stop()
    }

    /// This machine's address in a form that nobody takes for this machine.
    private static let elsewhere = "0x7f000001"

    private func refusal(_ server: Server, _ words: String) async -> TandemError? {
        await #expect(throws: TandemError.self) { try await server.open(words).close() }
    }

    @Test("a certificate of the host's name by a known authority is taken, and asked for where no mode is given", .enabled(if: hasTLS))
    func verified() async throws {
        try await withServer(name: Self.elsewhere) { server in
            let session = try await server.open("host=\(Self.elsewhere) sslrootcert=\(server.authority)")
            #expect(try await session.value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == "t")
            await session.close()
            // Signed by nobody that this machine knows.
            let unknown = await refusal(server, "host=\(Self.elsewhere)")
            #expect(unknown?.code == .nodeUnreachable && unknown?.message.contains("certificate") == true && unknown?.nextStep.contains("sslrootcert") == true)
            let weaker = try await server.open("host=\(Self.elsewhere) sslmode=require")
            #expect(try await weaker.value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == "t")
            await weaker.close()
            // The next of several hosts, the one that takes writes.
            let several = try await server.open(
                "host=\(Self.elsewhere),\(Self.elsewhere) sslrootcert=\(server.authority) target_session_attrs=read-write")
            #expect(try await several.value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == "t")
            await several.close()
        }
    }

    @Test("a certificate of another name is refused", .enabled(if: hasTLS))
    func wrongHost() async throws {
        try await withServer(name: "db.example") { server in
            #expect(await refusal(server, "host=\(Self.elsewhere) sslrootcert=\(server.authority)")?.message.contains("does not match host name") == true)
        }
    }

    @Test("a certificate that has ended is refused", .enabled(if: hasTLS))
    func expired() async throws {
        try await withServer(name: Self.elsewhere, days: 0) { server in
            #expect(await refusal(server, "host=\(Self.elsewhere) sslrootcert=\(server.authority)")?.message.contains("certificate") == true)
        }
    }

    @Test("a server without TLS is refused, unless somebody said that it is enough")
    func plain() async throws {
        try await withServer(name: nil) { server in
            #expect(await refusal(server, "host=\(Self.elsewhere)")?.message.lowercased().contains("does not support ssl") == true)
            let session = try await server.open("host=\(Self.elsewhere) sslmode=prefer")
            #expect(try await session.value("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()") == "f")
            await session.close()
        }
    }
}
