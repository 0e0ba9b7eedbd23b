import TandemCluster
import TandemCore
import TandemFailpoints
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemTransactions

@Suite("Retention")
struct RetentionTests {
    /// A time long past, of this test alone: gids are unique on a server, whatever the database.
    private let start = UInt64.random(in: 1_500_000_000_000..<1_700_000_000_000)

    /// An id of that time; a later one for a higher number.
    private func oldID(_ number: UInt64) -> TransactionID { .make(milliseconds: start + number, random: (number, number)) }

    private func insert(_ test: TestCluster, _ id: TransactionID, _ kind: String = "W", on node: NodeName) async throws {
        try await test.value(node, "INSERT INTO tandem.branch (transaction_id, node, kind) VALUES ('\(id)', \(try test.id(node)), '\(kind)')")
    }

    @Test("removes rows that are older than the retention, on every node, and keeps younger ones")
    func removes() async throws {
        try await withCluster { test in
            for number in 0..<10 { try await insert(test, oldID(UInt64(number)), number % 2 == 0 ? "W" : "A", on: number < 5 ? "n1" : "n2") }
            let receipt = try await test.transfer()
            #expect(try await test.cluster.forget() == 10)
            #expect(try await test.row(receipt.transaction, "n1") == "W")
            #expect(try await test.count("n1", "tandem.branch") == 1)
            #expect(try await test.count("n2", "tandem.branch") == 1)
            #expect(try await test.cluster.forget() == 0)
        }
    }

    @Test("what is committed on some of its nodes only is recorded once and kept, and everything else goes")
    func contradictions() async throws {
        try await withCluster(3) { test in
            func commit(_ number: UInt64, on nodes: [NodeName], of members: [NodeName]) async throws {
                let list = try members.map { try test.id($0).description }.joined(separator: ",")
                for node in nodes {
                    let values = "'\(oldID(number))', \(try test.id(node)), 'W', '{\(list)}'"
                    try await test.value(node, "INSERT INTO tandem.branch (transaction_id, node, kind, members) VALUES (\(values))")
                }
            }
            try await commit(1, on: ["n1", "n2"], of: ["n1", "n2"])
            try await commit(2, on: ["n2"], of: ["n1", "n2"])  // n1 lost it: it was the commit point, or a member
            try await commit(3, on: ["n1", "n3"], of: ["n1", "n2", "n3"])
            try await insert(test, oldID(3), "A", on: "n2")
            try await commit(4, on: ["n3"], of: ["n3"])
            #expect(try await test.cluster.forget() == 3)
            for (node, kept): (NodeName, [UInt64]) in [("n1", [3]), ("n2", [2, 3]), ("n3", [3])] {
                let left = try await test.value(node, "SELECT string_agg(transaction_id::text, ',' ORDER BY transaction_id) FROM tandem.branch")
                #expect(left == kept.map { oldID($0).description }.joined(separator: ","))
            }
            let record = "SELECT string_agg(what || ' ' || transaction_id || ': ' || reason, ';') FROM tandem.operation"
            #expect(try await test.value("n2", record) == "found lost \(oldID(2)): n1 has neither a row nor a prepared branch")
            #expect(try await test.value("n1", record) == "found mixed \(oldID(3)): n2 has a tombstone")
            #expect(try await test.cluster.forget() == 0)
            #expect(try await test.count("n2", "tandem.operation") == 1)
        }
    }

    @Test("a pass that was stopped between two nodes makes the next one report nothing")
    func stoppedHalfway() async throws {
        try await withCluster { test in
            for node in ["n1", "n2"] as [NodeName] {
                let values = "'\(oldID(1))', \(try test.id(node)), 'W', '{1,2}'"
                try await test.value(node, "INSERT INTO tandem.branch (transaction_id, node, kind, members) VALUES (\(values))")
                try await test.value(node, "UPDATE tandem.node SET forgotten = '\(oldID(1))'")
            }
            try await test.value("n1", "DELETE FROM tandem.branch")
            #expect(try await test.cluster.forget() == 1)
            #expect(try await test.count("n2", "tandem.operation") == 0)
        }
    }

    @Test("a transaction whose id lies behind the horizon is refused, and its rows stay away")
    func horizon() async throws {
        try await withCluster { test in
            try await insert(test, oldID(1), on: "n1")
            #expect(try await test.cluster.forget() == 1)
            for writers in [1, 2] {
                let error = await refusal {
                    try await test.cluster.transaction(options { $0.id = oldID(2) }) { tx in
                        try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1")
                        if writers == 2 { try await tx["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = 1") }
                    }
                }
                #expect(error?.effect == .rolledBack && error?.isRetrySafe == false)
            }
            try await test.expectUntouched()
        }
    }

    @Test("rows that a prepared branch still needs stay, and those below it go once it is settled")
    func needed() async throws {
        try await withCluster { test in
            try await test.leavePrepared(oldID(5))
            try await test.decide(oldID(5))
            for number: UInt64 in [0, 9] { try await insert(test, oldID(number), on: "n1") }
            let task = Task { try await test.cluster.forget() }
            // The horizon stays below what is prepared, and nothing goes before that is settled.
            try await wait(for: "the horizon") { try await test.value("n2", "SELECT forgotten >= '\(oldID(0))' FROM tandem.node") == "t" }
            #expect(try await test.value("n1", "SELECT forgotten < '\(oldID(5))' FROM tandem.node") == "t")
            #expect(try await test.count("n1", "tandem.branch") == 3)
            #expect(await test.cluster.recover(grace: .zero).branches.map(\.settlement) == ["committed"])
            try await test.expectMoved()
            #expect(try await task.value == 1)
            #expect(try await test.row(oldID(5), "n1") == "W")
            #expect(try await test.cluster.forget() == 3)
            #expect(try await test.count("n1", "tandem.branch") == 0)
        }
    }

    @Test("a branch whose row may have been forgotten is held for an operator and never decided")
    func held() async throws {
        try await withCluster { test in
            try await insert(test, oldID(5), on: "n1")
            #expect(try await test.cluster.forget() == 1)
            // As after a failover that brought a prepared branch back.
            try await test.leavePrepared(oldID(1))
            let report = await test.cluster.recover(grace: .zero)
            #expect(report.branches.map(\.settlement) == ["held"] && report.needsAttention)
            #expect(try await test.prepared().count == 1)
            #expect(try await test.row(oldID(1), "n1") == nil)
            try await sql(try test.conninfo("n2"), "ROLLBACK PREPARED '\(try test.gid(oldID(1), "n2", commitPoint: "n1"))'")
        }
    }

    @Test("behind the horizon a row that is still there decides")
    func keptRow() async throws {
        try await withCluster { test in
            try await test.leavePrepared(oldID(1))
            try await test.decide(oldID(1))
            try await test.value("n1", "UPDATE tandem.node SET forgotten = '\(oldID(7))'")
            #expect(await test.cluster.recover(grace: .zero).branches.map(\.settlement) == ["committed"])
            try await test.expectMoved()
        }
    }

    @Test("nothing is removed while a node cannot be asked")
    func unreachable() async throws {
        try await withCluster { test in
            try await insert(test, oldID(1), on: "n1")
            let half = try test.another { $0.nodes[1].conninfo = "host=127.0.0.1 port=1 dbname=x user=x" }
            defer { half.close() }
            #expect(await refusal { try await half.forget() }?.code == .nodeUnreachable)
            #expect(try await test.count("n1", "tandem.branch") == 1)
        }
    }

    @Test("the horizon waits for what was open before it, and a commit that began earlier keeps its row")
    func openTransaction() async throws {
        try await withCluster { test in
            try await insert(test, oldID(1), on: "n1")
            let open = try await test.session("n1")
            try await open.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
            try await open.run("SELECT 1")
            let task = Task { try await test.cluster.forget() }
            try await wait(for: "the horizon") { try await test.value("n1", "SELECT forgotten > '\(oldID(1))' FROM tandem.node") == "t" }
            #expect(try await test.row(oldID(1), "n1") == "W")
            await open.close()
            #expect(try await task.value == 1)
        }
    }
}
