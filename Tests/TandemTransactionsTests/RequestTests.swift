import TandemCluster
import TandemCore
import TandemFailpoints
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemTransactions

@Suite("A transaction as data")
struct RequestTests {
    private func transfer(
        _ amount: Int = 10, account: Int = 1, expecting rows: (ClosedRange<Int>?, ClosedRange<Int>?) = (1...1, 1...1), target: Int? = nil,
        _ options: TransactionOptions = .init()
    ) -> TransactionRequest {
        TransactionRequest(
            [
                .init("n1", "UPDATE account SET balance = balance - \(amount) WHERE id = \(account)", expectedRows: rows.0),
                .init("n2", "UPDATE account SET balance = balance + \(amount) WHERE id = \(target ?? account)", expectedRows: rows.1),
            ], options: options)
    }

    @Test("commits on all of its nodes, with and without expectations", arguments: Acknowledgement.allCases, [true, false])
    func commits(acknowledgement: Acknowledgement, isExpecting: Bool) async throws {
        try await withCluster { test in
            let expected: (ClosedRange<Int>?, ClosedRange<Int>?) = isExpecting ? (1...1, 1...1) : (nil, nil)
            let receipt = try await test.cluster.run(transfer(expecting: expected, options { $0.acknowledgement = acknowledgement }))
            #expect(receipt.value.map(\.rows) == [1, 1] && receipt.value.map(\.node) == ["n1", "n2"])
            try await wait(for: "phase two") { try await test.prepared().isEmpty }
            try await test.expectMoved()
            for node: NodeName in ["n1", "n2"] { #expect(try await test.row(receipt.transaction, node) == "W") }
        }
    }

    @Test("answers with the rows of each operation, in the order of the request")
    func results() async throws {
        try await withCluster { test in
            let receipt = try await test.cluster.run(
                TransactionRequest([
                    .init("n2", "SELECT 2 AS b, NULL::text AS c"), .init("n1", "UPDATE account SET balance = 5 WHERE id = 1 RETURNING id, balance"),
                    .init("n2", "UPDATE account SET balance = 6 WHERE id = 1"),
                ]))
            #expect(receipt.value.map(\.rows) == [1, 1, 1])
            #expect(receipt.value[0].columns.map(\.name) == ["b", "c"] && receipt.value[0].values == [["2", nil]])
            #expect(receipt.value[1].values == [["1", "5"]])
            #expect(receipt.value[2].columns.isEmpty)
        }
    }

    @Test("a violated expectation rolls back everywhere, on a member and on the commit point", arguments: ["n1", "n2"])
    func expectation(wrong: String) async throws {
        try await withCluster { test in
            let isFirst = wrong == "n1"
            let request = transfer(expecting: isFirst ? (2...2, nil) : (nil, 2...2))
            let error = await refusal { try await test.cluster.run(request) }
            #expect(error?.code == .expectationViolated && error?.node?.rawValue == wrong && error?.effect == .rolledBack)
            try await test.expectUntouched()
            _ = try await test.cluster.run(transfer())
        }
    }

    @Test("a failing statement rolls back everywhere, on a member and on the commit point", arguments: [(-5000, "n2"), (5000, "n1")])
    func failure(amount: Int, node: String) async throws {
        try await withCluster { test in
            for rows: (ClosedRange<Int>?, ClosedRange<Int>?) in [(nil, nil), (1...1, 1...1)] {
                let request = transfer(amount, expecting: rows)
                let error = await refusal { try await test.cluster.run(request) }
                #expect(error?.sqlState == .checkViolation && error?.node?.rawValue == node && error?.effect == .rolledBack)
                #expect(error?.phase == "statement")
                try await test.expectUntouched()
            }
        }
    }

    @Test(
        "no statement that travels with its vote or decision ends the transaction, whatever stands before or inside it",
        arguments: [
            ";COMMIT", "/* a /* b */ c */ COMMIT", "-- data\nCOMMIT", "(COMMIT)", "SELECT 1; COMMIT", "UPDATE account SET balance = 0; COMMIT; BEGIN",
            "WITH a AS (SELECT 1) COMMIT", "COMMIT AND CHAIN", "ROLLBACK", "SELECT end_it()", "SELECT end_it() FROM account; --", "CALL end_all()",
            "PREPARE x AS SELECT 1; COMMIT",
        ], ["n1", "n2"])
    func endsTransaction(text: String, node: String) async throws {
        try await withCluster { test in
            for node in ["n1", "n2"] as [NodeName] {
                _ = try await test.cluster.run(
                    TransactionRequest([
                        .init(node, "CREATE PROCEDURE end_all() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$"),
                        .init(node, "CREATE FUNCTION end_it() RETURNS int LANGUAGE plpgsql AS $$ BEGIN CALL end_all(); RETURN 1; END $$"),
                    ]))
            }
            let last = SQL(text, parameters: [])
            let operations = (["n1", "n2"] as [NodeName]).flatMap { each -> [TransactionRequest.Operation] in
                [.init(each, "UPDATE account SET balance = 0 WHERE id = 1")] + (each.rawValue == node ? [.init(each, last)] : [])
            }
            let error = await refusal { try await test.cluster.run(TransactionRequest(operations)) }
            #expect(error != nil && (error?.effect == .rolledBack || error?.effect == TandemError.Effect.none))
            try await test.expectUntouched()
        }
    }

    @Test("with `decided`, a branch whose session has to be reset first is finished all the same, without recovery")
    func decidedAfterReset() async throws {
        try await withCluster { test in
            for _ in 1...5 {
                let request = TransactionRequest(
                    [
                        .init("n1", "SET work_mem = '1MB'"), .init("n1", "UPDATE account SET balance = balance - 1 WHERE id = 1"),
                        .init("n2", "UPDATE account SET balance = balance + 1 WHERE id = 1"),
                    ], options: options { $0.acknowledgement = .decided })
                _ = try await test.cluster.run(request)
            }
            try await wait(for: "phase two") { try await test.prepared().isEmpty }
            try await test.expectMoved(5)
        }
    }

    @Test("an idle connection to a server that a failover left behind is not used, for work, decisions or COMMIT PREPARED")
    func leftBehind() async throws {
        try await withCluster { test in
            _ = try await test.cluster.run(transfer())
            try await test.expectMoved()
            for node in ["n1", "n2"] as [NodeName] {
                let runtime = try test.cluster.node(node)
                runtime.note(timeline: 7)
                let error = await refusal { try await test.cluster.run(TransactionRequest([.init(node, "UPDATE account SET balance = 0 WHERE id = 1")])) }
                #expect(error?.code == .identityMismatch && error?.node == node && error?.effect == .rolledBack)
            }
            #expect(await refusal { try await test.cluster.run(transfer()) }?.effect == .rolledBack)
            try await test.expectMoved()
        }
    }

    @Test("a function that turns durability off inside a branch of one message does not make its commit asynchronous")
    func durability() async throws {
        try await withCluster { test in
            for node in ["n1", "n2"] as [NodeName] {
                _ = try await test.cluster.run(
                    TransactionRequest([
                        .init(
                            node,
                            """
                            CREATE FUNCTION careless() RETURNS int LANGUAGE plpgsql AS
                            $$ BEGIN PERFORM pg_catalog.set_config('synchronous_' || 'commit', 'off', true); RETURN 1; END $$
                            """),
                        // Runs at the commit or the PREPARE, after the row.
                        .init(node, "CREATE TABLE seen (level text)"),
                        .init(
                            node,
                            """
                            CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS
                            $$ BEGIN INSERT INTO seen VALUES (pg_catalog.current_setting('synchronous_commit')); RETURN NULL; END $$
                            """),
                    ]))
                // The register belongs to somebody else.
                try await test.value(node, "GRANT INSERT ON seen TO PUBLIC")
                try await test.value(
                    node,
                    """
                    CREATE CONSTRAINT TRIGGER look AFTER INSERT ON tandem.branch
                    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION look()
                    """)
            }
            _ = try await test.cluster.run(
                TransactionRequest([
                    .init("n1", "UPDATE account SET balance = balance - careless() WHERE id = 1"),
                    .init("n2", "UPDATE account SET balance = balance + careless() WHERE id = 1"),
                ]))
            try await wait(for: "phase two") { try await test.prepared().isEmpty }
            for node in ["n1", "n2"] as [NodeName] {
                let seen = try await test.cluster.run(TransactionRequest([.init(node, "SELECT DISTINCT level FROM seen")])).value[0].values
                #expect(seen == [["on"]])
            }
        }
    }

    @Test("one node is one plain commit")
    func single() async throws {
        try await withCluster { test in
            let receipt = try await test.cluster.run(TransactionRequest([.init("n2", "UPDATE account SET balance = 7 WHERE id = 1")]))
            #expect(try await test.balance("n2", 1) == 7)
            #expect(try await test.row(receipt.transaction, "n2") == "W")
        }
    }

    @Test("what would end the transaction, an unknown node and an empty request are refused before anything is sent")
    func refused() async throws {
        try await withCluster { test in
            let commit = TransactionRequest([.init("n1", "UPDATE account SET balance = 0"), .init("n1", "/* x */ COMMIT")])
            #expect(await refusal { try await test.cluster.run(commit) }?.code == .statementRefused)
            let unknown = TransactionRequest([.init("n1", "UPDATE account SET balance = 0"), .init("n9", "SELECT 1")])
            #expect(await refusal { try await test.cluster.run(unknown) }?.code == .unknownNode)
            #expect(await refusal { try await test.cluster.run(TransactionRequest([])) }?.code == .configurationInvalid)
            let nul = TransactionRequest([.init("n1", SQL("SELECT $1::text", parameters: [.text("a\0b")]))])
            #expect(await refusal { try await test.cluster.run(nul) }?.code == .encodingFailed)
            try await test.expectUntouched()
        }
    }

    @Test("many requests in opposite orders through small pools all finish")
    func opposite() async throws {
        try await withCluster(
            2,
            { configuration in
                for index in configuration.nodes.indices { configuration.nodes[index].pool = PoolOptions(maximum: 2) }
            }
        ) { test in
            try await withThrowingTaskGroup { group in
                for index in 0..<20 {
                    let operations: [TransactionRequest.Operation] = [
                        .init("n1", "UPDATE account SET balance = balance - 1 WHERE id = 1", expectedRows: 1...1),
                        .init("n2", "UPDATE account SET balance = balance + 1 WHERE id = 1"),
                    ]
                    group.addTask { _ = try await test.cluster.run(TransactionRequest(index % 2 == 0 ? operations : operations.reversed())) }
                }
                try await group.waitForAll()
            }
            try await test.expectMoved(20)
        }
    }

    @Test("a second submission of the same id answers with the first one's outcome, and does nothing")
    func duplicate() async throws {
        try await withCluster { test in
            let first = try await test.cluster.run(transfer())
            #expect(!first.isRepeated)
            let again = try await test.cluster.run(transfer(10, options { $0.id = first.transaction }))
            #expect(again.transaction == first.transaction && again.isRepeated && again.value.isEmpty)
            try await test.expectMoved()
        }
    }

    @Test("a second submission names the nodes on which the first one is not finished yet")
    func duplicateOfPending() async throws {
        try await withCluster { test in
            let id = TransactionID.fresh()
            try await test.leavePrepared(id)
            try await test.decide(id)
            let again = try await test.cluster.run(transfer(10, options { $0.id = id }))
            #expect(again.isRepeated && again.pending == ["n2"])
            _ = await test.cluster.recover(grace: .zero)
            try await test.expectMoved()
        }
    }

    @Test("ten submissions of one id at once, in two processes as it were, commit once and all say so")
    func duplicatesAtOnce() async throws {
        try await withCluster { test in
            let other = try test.another()
            for account in 1...5 {
                let id = TransactionID.fresh()
                let receipts = try await withThrowingTaskGroup { group in
                    for number in 0..<10 {
                        group.addTask {
                            try await (number % 2 == 0 ? test.cluster : other).run(
                                TransactionRequest(
                                    [
                                        .init("n1", SQL("UPDATE account SET balance = balance - 10 WHERE id = $1", parameters: [.text("\(account)")])),
                                        .init("n2", SQL("UPDATE account SET balance = balance + 10 WHERE id = $1", parameters: [.text("\(account)")])),
                                    ], options: options { $0.id = id }))
                        }
                    }
                    return try await group.reduce(into: []) { $0.append($1) }
                }
                #expect(receipts.allSatisfy { $0.transaction == id } && receipts.count { !$0.isRepeated } == 1)
                try await test.expectMoved(account: account)
            }
            other.close()
        }
    }

    @Test("an id whose transaction was rolled back for good stays so, and says that a new one is needed")
    func duplicateOfRolledBack() async throws {
        try await withCluster { test in
            let id = TransactionID.fresh()
            // What recovery writes when a coordinator died before its decision. The last node in the order is the commit point.
            try await test.value("n2", "SELECT tandem.tombstone('\(id)')")
            let error = await refusal { try await test.cluster.run(transfer(10, options { $0.id = id })) }
            #expect(error?.code == .duplicateTransaction && error?.effect == .rolledBack && error?.isRetrySafe == false)
            #expect(error?.nextStep.contains("new id") == true)
            try await test.expectUntouched()
        }
    }

    @Test("a read-only request returns rows and leaves no trace")
    func readOnly() async throws {
        try await withCluster { test async throws in
            let request = TransactionRequest(
                [.init("n1", "SELECT sum(balance) FROM account"), .init("n2", "SELECT sum(balance) FROM account")], options: options { $0.isReadOnly = true })
            #expect(try await test.cluster.run(request).value.map { $0.values.first?.first } == ["100000", "100000"])
            #expect(try await test.count("n1", "tandem.branch") == 0)
            let writing = TransactionRequest([.init("n1", "UPDATE account SET balance = 0")], options: options { $0.isReadOnly = true })
            #expect(await refusal { try await test.cluster.run(writing) }?.sqlState == .readOnlyTransaction)
        }
    }
}
