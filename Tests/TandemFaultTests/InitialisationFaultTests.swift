import Foundation
import TandemCluster
import TandemCore
import TandemLocal
import TandemPostgres
import TandemTestKit
import TandemTestSupport
import Testing

/// Row G3.
@Suite("An initialisation that is cut off", .serialized)
struct InitialisationFaultTests {
    @Test("G3: cut off at any of its statements it leaves a node as it was or complete, and run again it finishes")
    func everyStatement() async throws {
        let local = try await PostgresNodes.shared.cluster(), node = local.nodes[0]
        let database = "init_\(UUID().uuidString.lowercased().prefix(8))"
        try await sql(node.superuserConninfo, "CREATE DATABASE \(database) OWNER tandem")
        try await withFaultProxy(to: .init(host: "127.0.0.1", port: node.port)) { proxy in
            let direct = try ClusterConfiguration("test", nodes: [NodeConfiguration("n1", conninfo: node.conninfo(database: database))])
            var through = direct
            through.nodes[0].conninfo = "host=127.0.0.1 port=\(proxy.port) dbname=\(database) user=\(node.user) sslmode=disable"
            through.nodes[0].password = Secret(node.password)
            through.nodes[0].connectTimeout = .seconds(15)
            var cut = 0
            while true {
                let before = proxy.fired
                proxy.arm(FaultRule(on: .execute(""), .reset, after: cut))
                let isDone: Bool
                do {
                    _ = try await Initialiser(through).run()
                    isDone = true
                } catch let error as TandemError {
                    isDone = false
                    #expect(error.node == "n1" && [.connectionLost, .connectionClosed, .nodeUnreachable].contains(error.code), "\(error)")
                }
                proxy.disarm()
                let hasFired = proxy.fired > before
                #expect(isDone != hasFired, "the statement \(cut)")
                // All of it in one transaction: there are no tables, or all.
                let tables = try await sql(node.conninfo(database: database), "SELECT count(*) FROM pg_tables WHERE schemaname = 'tandem'") ?? ""
                #expect(["0", "6"].contains(tables), "after the statement \(cut) there are \(tables) tables")
                _ = try await Initialiser(direct).run()
                #expect(try await sql(node.conninfo(database: database), "SELECT count(*) FROM tandem.node") == "1")
                if !hasFired { break }
                _ = try await Initialiser(direct).uninstall()
                cut += 1
            }
            #expect(cut > 5)
        }
        _ = try? await sql(node.superuserConninfo, "DROP DATABASE \(database) WITH (FORCE)")
    }
}
