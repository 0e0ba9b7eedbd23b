import Synchronization
import TandemCluster
import TandemCore
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemTransactions

@Suite("A migration under load")
struct MigrationTests {
    private final class Load: Sendable {
        let stale = Atomic<Int>(0), isOver = Atomic<Bool>(false)
    }

    @Test("prepared statements whose result changes are prepared anew: each failure is rolled back and safe to retry, and none comes twice")
    func changingTypes() async throws {
        try await withCluster { test in
            for node in ["n1", "n2"] as [NodeName] { try await test.value(node, "ALTER TABLE account ADD COLUMN note int NOT NULL DEFAULT 0") }
            let load = Load()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for client in 1...8 {
                    group.addTask {
                        var wasRefused = false
                        while !load.isOver.load(ordering: .relaxed) {
                            do {
                                try await test.cluster.transaction { tx in
                                    for (node, amount) in [("n1", -1), ("n2", 1)] as [(NodeName, Int)] {
                                        _ = try await tx[node].query("SELECT * FROM account WHERE id = \(client)", as: Int.self, Int.self, String.self)
                                        try await tx[node].execute("UPDATE account SET balance = balance + \(amount) WHERE id = \(client) RETURNING *")
                                    }
                                }
                                wasRefused = false
                            } catch let error as TandemError {
                                guard error.sqlState == .featureNotSupported, error.effect == .rolledBack, error.isRetrySafe else { throw error }
                                // A connection may have another stale plan, but not the same one for ever: two nodes, two texts.
                                load.stale.add(1, ordering: .relaxed)
                                wasRefused = true
                            }
                        }
                        // What was refused last goes through now that nothing changes any more.
                        guard wasRefused else { return }
                        _ = try await test.cluster.transaction(options { $0.attempts = 100 }) { tx in
                            _ = try await tx["n1"].query("SELECT * FROM account WHERE id = \(client)", as: Int.self, Int.self, String.self)
                        }
                    }
                }
                for type in ["bigint", "text", "int USING note::int", "text", "bigint USING note::bigint", "text"] {
                    for node in ["n1", "n2"] as [NodeName] {
                        let before = try await test.balance(node, 1)
                        try await test.value(node, "ALTER TABLE account ALTER COLUMN note DROP DEFAULT")
                        try await test.value(node, "ALTER TABLE account ALTER COLUMN note TYPE \(type)")
                        // Some transactions with the new type, before it changes again.
                        try await wait(for: "transactions after the migration") { try await test.balance(node, 1) != before }
                    }
                }
                load.isOver.store(true, ordering: .relaxed)
                try await group.waitForAll()
            }
            #expect(load.stale.load(ordering: .relaxed) > 0)
            #expect(try await test.total() == test.expectedTotal)
            #expect(try await test.prepared() == [])
        }
    }

    private struct Row: Decodable {
        let note: String?
    }

    @Test("with attempts the caller sees nothing of it")
    func attempts() async throws {
        try await withCluster(
            1,
            {
                $0.reactors = 1; $0.nodes[0].pool.maximum = 1
            }
        ) { test in
            let read: @Sendable () async throws -> String? = {
                try await test.cluster.transaction(options { $0.attempts = 3 }) { tx in
                    try await tx["n1"].query("SELECT * FROM account WHERE id = 1", decoding: Row.self)[0].note
                }.value
            }
            #expect(try await read() == nil)
            try await test.value("n1", "ALTER TABLE account ADD COLUMN note text DEFAULT 'new'")
            #expect(try await read() == "new")
        }
    }
}
