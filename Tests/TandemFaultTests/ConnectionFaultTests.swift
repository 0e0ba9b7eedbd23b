import TandemCluster
import TandemCore
import TandemFailpoints
import TandemPostgres
import TandemTestKit
import TandemTestSupport
import TandemTransactions
import Testing

/// Section C of the fault matrix, and its rows that a lost reply makes: each test names its row and checks the row's invariants.
@Suite("Faults of connections", .serialized, .timeLimit(.minutes(3)))
struct ConnectionFaultTests {
    @Test("C1: where the request to prepare is lost, the transaction is rolled back and says so")
    func prepareLost() async throws {
        try await withFaultyCluster { faulty in
            try faulty.proxy("n2").arm(FaultRule(on: .execute("PREPARE TRANSACTION"), .dropRequest))
            #expect(await faulty.refusedTransfer(within: .seconds(8))?.effect == .rolledBack)
            #expect(try faulty.proxy("n2").fired == 1)
            #expect(try await faulty.settled() == false)
            try await faulty.expectUsable()
        }
    }

    @Test("C2: where the answer to the request to prepare is lost with its connection, the branch that is prepared all the same is rolled back")
    func preparedUnseen() async throws {
        try await withFaultyCluster { faulty in
            try faulty.proxy("n2").arm(FaultRule(on: .complete("PREPARE TRANSACTION"), .reset))
            #expect(await faulty.refusedTransfer(within: .seconds(30))?.effect == .rolledBack)
            #expect(try faulty.proxy("n2").fired == 1)
            #expect(try await faulty.settled() == false)
            try await faulty.expectUsable()
        }
    }

    @Test("C3: where the answer to COMMIT PREPARED is lost, the transaction is committed, and its receipt says so", arguments: [true, false])
    func committedUnseen(isReset: Bool) async throws {
        try await withFaultyCluster { faulty in
            try faulty.proxy("n2").arm(FaultRule(on: .complete("COMMIT PREPARED"), isReset ? .reset : .dropReply))
            _ = try await faulty.transfer(within: .seconds(8))
            #expect(try faulty.proxy("n2").fired == 1)
            #expect(try await faulty.settled())
            try await faulty.expectUsable()
        }
    }

    @Test("C4: where the answer to the only COMMIT is lost, the register's row tells; without one it is in doubt")
    func onlyCommitLost() async throws {
        try await withFaultyCluster { faulty in
            let node = faulty.cluster["n1"]
            try faulty.proxy("n1").arm(FaultRule(on: .complete("COMMIT"), .reset))
            let count = try await node.transaction(isRecorded: true) { try await $0.execute("UPDATE account SET balance = balance - 10 WHERE id = 1") }
            #expect(count == 1)
            #expect(try faulty.proxy("n1").fired == 1)
            #expect(try await faulty.test.balance("n1", 1) == TestCluster.balance - 10)
            try faulty.proxy("n1").arm(FaultRule(on: .complete("COMMIT"), .reset))
            let error = await #expect(throws: TandemError.self) {
                try await node.transaction { try await $0.execute("UPDATE account SET balance = balance - 10 WHERE id = 1") }
            }
            #expect(error?.code == .inDoubt)
            #expect(try await faulty.test.balance("n1", 1) == TestCluster.balance - 20)
        }
    }

    @Test(
        "C5: a message that is cut rolls the transaction back, and its connection is not used again",
        arguments: ["UPDATE account", "INSERT INTO tandem.branch"])
    func cut(text: String) async throws {
        try await withFaultyCluster { faulty in
            try faulty.proxy("n2").arm(FaultRule(on: .parse(text), .cut(bytes: 11)))
            #expect(await faulty.refusedTransfer(within: .seconds(30))?.effect == .rolledBack)
            #expect(try faulty.proxy("n2").fired == 1)
            #expect(try await faulty.settled() == false)
            try await faulty.expectUsable()
        }
    }

    @Test("C6: a connection that is half open after the vote ends with the transaction's time, and others go on meanwhile")
    func halfOpen() async throws {
        try await withFaultyCluster { faulty in
            try faulty.proxy("n2").arm(FaultRule(on: .complete("PREPARE TRANSACTION"), .blackHole))
            async let refused = faulty.refusedTransfer(within: .seconds(8))
            await (try faulty.proxy("n2")).hasFired(1)
            try await faulty.expectUsable()
            #expect(await refused?.effect == .rolledBack)
            #expect(try await faulty.settled() == false)
        }
    }

    @Test("C7: cut off from the commit point before the decision, the transaction is never on one node only, and its caller is told the truth")
    func noCommitPoint() async throws {
        try await withFaultyCluster { faulty in
            let error = try await Failpoints.withArmed("before_decision=hold") {
                async let refused = faulty.refusedTransfer(within: .seconds(8))
                await Failpoints.held(.beforeDecision)
                try faulty.proxy("n1").partition()
                Failpoints.release(.beforeDecision)
                return await refused
            }
            let isThere = try await faulty.settled()
            switch error?.effect {
            case .inDoubt(let id): #expect(try await faulty.test.cluster.outcome(of: id, within: .seconds(20)) == (isThere ? .committed : .rolledBack))
            case .rolledBack: #expect(!isThere)
            case .none?, nil: Issue.record("the caller was told \(String(describing: error))")
            }
            try faulty.proxy("n1").heal()
            try await faulty.expectUsable()
        }
    }

    @Test("C7: cut off from a member after the decision, the transaction is committed, and the member is named as pending")
    func noMember() async throws {
        try await withFaultyCluster { faulty in
            let receipt = try await Failpoints.withArmed("after_decision=hold") {
                async let receipt = faulty.transfer(within: .seconds(8))
                await Failpoints.held(.afterDecision)
                try faulty.proxy("n2").partition()
                Failpoints.release(.afterDecision)
                return try await receipt
            }
            #expect(receipt.pending == ["n2"])
            try faulty.proxy("n2").heal()
            #expect(try await faulty.settled())
            try await faulty.expectUsable()
        }
    }

    @Test("C8: an address that answers as another node resolves nothing and takes nothing")
    func anotherNode() async throws {
        try await withCluster(2) { test in
            let wrong = try test.another { $0.nodes[1].conninfo = $0.nodes[0].conninfo }
            defer { wrong.close() }
            let error = await #expect(throws: TandemError.self) {
                try await wrong.transaction { try await $0["n2"].execute("UPDATE account SET balance = 0") }
            }
            #expect(error?.code == .identityMismatch)
            #expect(await wrong.recover(grace: .zero).unreachable.map(\.node) == ["n2"])
            #expect(try await test.total() == test.expectedTotal)
        }
    }

    @Test("A6: where the answer to the decision is lost, the register is asked and not guessed", arguments: [true, false])
    func decisionUnseen(isReset: Bool) async throws {
        try await withFaultyCluster { faulty in
            try faulty.proxy("n1").arm(FaultRule(on: .complete("COMMIT"), isReset ? .reset : .dropReply))
            let outcome: Outcome
            do {
                _ = try await faulty.transfer(within: .seconds(8))
                outcome = .committed
            } catch let error as TandemError {
                guard case .inDoubt(let id) = error.effect else { throw error }
                outcome = try await faulty.test.cluster.outcome(of: id, within: .seconds(20))
            }
            #expect(outcome == .committed)
            #expect(try await faulty.settled())
            try await faulty.expectUsable()
        }
    }

    @Test("A6: where the decision itself is lost, nobody has it, and the caller is told rolled back or finds it so", arguments: [true, false])
    func decisionLost(isReset: Bool) async throws {
        try await withFaultyCluster { faulty in
            try faulty.proxy("n1").arm(FaultRule(on: .execute("COMMIT"), isReset ? .reset : .dropRequest))
            let error = await faulty.refusedTransfer(within: .seconds(8))
            if case .inDoubt(let id) = error?.effect {
                #expect(try await faulty.test.cluster.outcome(of: id, within: .seconds(20)) == .rolledBack)
            } else {
                #expect(error?.effect == .rolledBack)
            }
            #expect(try await faulty.settled() == false)
            try await faulty.expectUsable()
        }
    }
}
