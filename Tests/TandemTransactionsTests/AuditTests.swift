import TandemCluster
import TandemCore
import TandemTestSupport
import Testing

@testable import TandemTransactions

@Suite("The audit of the registers")
struct AuditTests {
    @Test("whole transactions and prepared branches are no finding, a branch or a decision that a failover lost is one")
    func findings() async throws {
        try await withCluster { test in
            var ids: [TransactionID] = []
            for account in 1...4 { ids.append(try await test.transfer(account: account).transaction) }
            // Committed at its commit point, and prepared on the other node still.
            let open = TransactionID.fresh()
            try await test.leavePrepared(open, account: 9)
            try await test.value(
                "n1", "INSERT INTO tandem.branch (transaction_id, node, members) VALUES ('\(open)', \(try test.id("n1")), '{1,2}')")
            var report = try await test.cluster.audit()
            #expect(report.rows == 9 && report.findings.isEmpty)

            // The commit point (n1) lost a decision, and the other node a branch; a third one was ended as an operator wished, against its decision.
            try await test.value("n1", "DELETE FROM tandem.branch WHERE transaction_id = '\(ids[0])'")
            try await test.value("n2", "DELETE FROM tandem.branch WHERE transaction_id = '\(ids[1])'")
            try await test.value("n2", "UPDATE tandem.branch SET kind = 'A' WHERE transaction_id = '\(ids[2])'")
            report = try await test.cluster.audit()
            #expect(report.findings.map(\.transaction) == [ids[0], ids[1], ids[2]])
            #expect(report.findings.map(\.kind) == [.lost, .lost, .mixed])
            #expect(report.findings.map(\.committed) == ["n2", "n1", "n1"] && report.findings.map(\.missing) == ["n1", "n2", "n2"])
            // It only looks.
            #expect(try await test.count("n1", "tandem.operation") == 0)
            #expect(try await test.prepared().count == 1)
            _ = await test.cluster.recover(grace: .zero)
        }
    }

    @Test("it looks as far back as it is told, and fails where a node is away")
    func bounds() async throws {
        try await withCluster { test in
            let old = TransactionID.make(milliseconds: 1_700_000_000_000, random: (1, 2))
            try await test.value("n1", "INSERT INTO tandem.branch (transaction_id, node, members) VALUES ('\(old)', 1, '{1,2}')")
            #expect(try await test.cluster.audit(since: .seconds(3600)).findings.isEmpty)
            #expect(try await test.cluster.audit().findings.map(\.transaction) == [old])
            let cluster = try test.another { $0.nodes[1].conninfo = "host=127.0.0.1 port=1 dbname=x user=x" }
            #expect(await refusal { try await cluster.audit() }?.code == .nodeUnreachable)
            cluster.close()
        }
    }
}
