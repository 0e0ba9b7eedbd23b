import TandemCluster
import TandemCore
import TandemFailpoints
import TandemPostgres
import TandemTestSupport
import TandemTransactions
import Testing

/// Rows A17, B10 and B11. They need a disk that can be filled, which only root can make.
@Suite("A disk without room", .serialized, .enabled(if: SmallDisk.isPossible, "only root can mount a small disk"))
struct DiskTests {
    private func transfer(_ disk: SmallDisk) async throws -> Receipt<Void> {
        var options = TransactionOptions()
        options.timeout = .seconds(3)
        return try await disk.cluster.transaction(options) { tx in
            try await tx["n1"].execute("UPDATE account SET balance = balance - 10 WHERE id = 1", rows: 1...1)
            try await tx["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = 1", rows: 1...1)
        }
    }

    @Test("B10: where there is no room for rows the statement fails with 53100, and the transaction is rolled back everywhere")
    func noRoomForRows() async throws {
        try await SmallDisk.with(isCommitPoint: false) { disk in
            try disk.fill()
            let error = await #expect(throws: TandemError.self) {
                _ = try await disk.cluster.transaction { tx in
                    try await tx["n2"].execute("UPDATE account SET balance = balance + 10 WHERE id = 1", rows: 1...1)
                    try await tx["n1"].execute("INSERT INTO filler SELECT repeat('x', 500) FROM generate_series(1, 2000)")
                }
            }
            #expect(error?.sqlState?.rawValue == "53100" && error?.effect == .rolledBack && error?.node == "n1", "\(String(describing: error))")
            disk.empty()
            let receipt = try await transfer(disk)
            #expect(receipt.pending.isEmpty)
            let balances = (try await disk.balance("n1"), try await disk.balance("n2"))
            #expect(balances == ("990", "1010"))
        }
    }

    @Test("B11: a member that panics for want of room for its log keeps what it prepared, and commits it when there is room again")
    func noRoomForTheLog() async throws {
        try await SmallDisk.with(isCommitPoint: false) { disk in
            let receipt = try await Failpoints.withArmed("before_commit_prepared=hold") {
                async let receipt = transfer(disk)
                _ = await Failpoints.held(.beforeCommitPrepared)
                try disk.fill()
                try await disk.panic()
                Failpoints.release(.beforeCommitPrepared)
                return try await receipt
            }
            #expect(receipt.pending == ["n1"])
            disk.empty()
            try await disk.restart()
            try await settle(disk)
            let balances = (try await disk.balance("n1"), try await disk.balance("n2"))
            #expect(balances == ("990", "1010"))
        }
    }

    @Test("A17: a commit point that has no room for the decision acknowledges nothing, and when it is back both nodes agree")
    func noRoomForTheDecision() async throws {
        try await SmallDisk.with(isCommitPoint: true) { disk in
            let error = try await Failpoints.withArmed("before_decision=hold") {
                let task = Task { try await transfer(disk) }
                _ = await Failpoints.held(.beforeDecision)
                try disk.fill()
                try await disk.panic()
                Failpoints.release(.beforeDecision)
                return await #expect(throws: TandemError.self) { _ = try await task.value }
            }
            // Whether the decision had left before the end of the session was noticed, nobody can say but the node.
            #expect(error?.effect != TandemError.Effect.none, "\(String(describing: error))")
            disk.empty()
            try await disk.restart()
            try await settle(disk)
            let balances = (try await disk.balance("n1"), try await disk.balance("n2"))
            #expect(balances == ("1000", "1000"))
        }
    }

    private func settle(_ disk: SmallDisk) async throws {
        try await wait(for: "the end of every branch") {
            _ = await disk.cluster.recover(grace: .zero)
            return try await disk.prepared() == 0
        }
        #expect(try await disk.cluster.audit().findings.isEmpty)
    }
}
