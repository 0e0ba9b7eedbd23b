import Foundation
import Logging
import Synchronization
import TandemCore
import TandemLocal
import TandemTestSupport
import Testing

@testable import TandemPostgres

/// Names are searched for before libpq is asked, which would wait for the system's resolver without a limit.
@Suite("Names of hosts")
struct HostResolverTests {
    private static let known = HostResolver { ["one": ["10.0.0.1"], "two": ["10.0.0.2", "::2"]][$0] ?? [] }

    private func words(_ conninfo: String, _ environment: [String: String] = [:]) throws -> [String] {
        let given = ConnectionWords(of: conninfo, environment: environment.merging(["HOME": "/home/x"]) { one, _ in one }, read: { _ in nil })
        return try HostAddresses(given, resolver: Self.known, within: .seconds(30)).words.map { "\($0.keyword)=\($0.value)" }
    }

    @Test("a name is given with its address, one with several as several hosts, with their ports; sockets and addresses stay")
    func several() throws {
        #expect(try words("host=one") == ["host=one", "hostaddr=10.0.0.1"])
        #expect(try words("host=two port=5433") == ["host=two,two", "hostaddr=10.0.0.2,::2"])
        #expect(
            try words("host=/run,one,two,10.9.9.9 port=1,2,3,4")
                == ["host=/run,one,two,two,10.9.9.9", "hostaddr=,10.0.0.1,10.0.0.2,::2,", "port=1,2,3,3,4"])
        #expect(try words("", ["PGHOST": "one"]) == ["host=one", "hostaddr=10.0.0.1"])
        #expect(try words("host=''", ["PGHOST": "one"]) == [])
        // One of them is known, which is enough.
        #expect(try words("host=nowhere,one port=1,2") == ["host=one", "hostaddr=10.0.0.1", "port=2"])
    }

    @Test(
        "nothing is searched for where no name stands, where addresses are given, and where a service may say anything",
        arguments: ["", "host=/run", "host=10.0.0.1,::1", "host=one hostaddr=10.1.1.1", "service=x host=one", "host=one,two port=1,2,3"])
    func nothing(conninfo: String) throws {
        #expect(try words(conninfo) == [])
    }

    private func connect(_ conninfo: String, within limit: Duration, _ resolver: HostResolver) async throws -> RawSession {
        let connector = Connector(ConnectionParameters(conninfo: conninfo, settings: [], connectTimeout: limit), node: "n1", resolver: resolver)
        let logger = Logger(label: "tests") { _ in SwiftLogNoOpLogHandler() }
        return RawSession(
            connection: try await withCheckedThrowingContinuation { continuation in
                connector.connect(on: testReactor, logger: logger) { continuation.resume(with: $0) }
            })
    }

    @Test("a name without an address is an error of the node, and so is a resolver that does not answer in time; it is asked once at a time")
    func failures() async throws {
        let unknown = await #expect(throws: TandemError.self) { try await connect("host=nowhere", within: .seconds(30), Self.known).close() }
        #expect(unknown?.code == .nodeUnreachable && unknown?.message.contains("no address is known for nowhere") == true)

        let searches = Atomic<Int>(0), isOver = DispatchSemaphore(value: 0)
        let silent = HostResolver { _ in
            searches.add(1, ordering: .relaxed)
            isOver.wait()
            return []
        }
        defer { isOver.signal() }
        for _ in 1...3 {
            let late = await #expect(throws: TandemError.self) { try await connect("host=db.example", within: .milliseconds(50), silent).close() }
            #expect(late?.code == .nodeUnreachable && late?.isRetrySafe == true && late?.message.contains("the address of db.example was not found") == true)
        }
        try await wait(for: "the search") { searches.load(ordering: .relaxed) > 0 }
        #expect(searches.load(ordering: .relaxed) == 1)
        // Another host is tried all the same.
        let node = try await firstNode()
        let session = try await connect(
            "host=db.example,127.0.0.1 port=1,\(node.port) dbname=tandem user=\(node.user) password='\(node.password)' sslmode=disable", within: .seconds(12),
            silent)
        await session.close()
    }

    @Test("the next address of a name is tried where the first does not answer, and the system's own names are found")
    func tried() async throws {
        let node = try await firstNode()
        let rest = "port=\(node.port) dbname=tandem user=\(node.user) sslmode=disable"
        for (host, resolver) in [("db.example", HostResolver { _ in ["127.9.9.9", "127.0.0.1"] }), ("localhost", HostResolver.system)] {
            let session = try await connect("host=\(host) \(rest) password='\(node.password)'", within: .seconds(30), resolver)
            #expect(try await session.value("SELECT current_database()") == "tandem")
            await session.close()
        }
    }
}
