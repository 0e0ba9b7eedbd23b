import TandemCluster
import TandemCore
import TandemPostgres
import TandemTestSupport
import Testing

@testable import TandemTransactions

@Suite("Deadlocks over several nodes")
struct DeadlockTests {
    private static let patience: @Sendable (inout ClusterConfiguration) -> Void = { configuration in
        // Nothing but the search for deadlocks ends these waits.
        for index in configuration.nodes.indices {
            (configuration.nodes[index].lockTimeout, configuration.nodes[index].statementTimeout) = (.seconds(240), .seconds(240))
        }
    }

    /// Changes a row of one node and then one of the other, once both have their first.
    private func both(
        _ cluster: Cluster, _ first: (node: NodeName, row: Int), _ second: (node: NodeName, row: Int), meeting: Meeting, attempts: Int = 1
    ) async throws -> Receipt<Void> {
        var options = TransactionOptions()
        options.attempts = attempts
        options.timeout = .seconds(240)
        return try await cluster.transaction(options) { tx in
            try await tx[first.node].execute("UPDATE account SET balance = balance - 1 WHERE id = \(first.row)", rows: 1...1)
            await meeting.arrive()
            try await tx[second.node].execute("UPDATE account SET balance = balance + 1 WHERE id = \(second.row)", rows: 1...1)
        }
    }

    private func outcome(_ body: () async throws -> Receipt<Void>) async -> Result<TransactionID, any Error> {
        do { return .success(try await body().transaction) } catch { return .failure(error) }
    }

    private func failures(_ outcomes: Result<TransactionID, any Error>...) -> [TandemError] {
        outcomes.compactMap { if case .failure(let error) = $0 { error as? TandemError } else { nil } }
    }

    @Test("the younger one gets 40P01 with the circle, and the other one commits")
    func two() async throws {
        try await withCluster(2, Self.patience) { test in
            let meeting = Meeting(2), runner = Task { try await test.cluster.run() }
            defer { runner.cancel() }
            async let one = outcome { try await both(test.cluster, ("n1", 1), ("n2", 2), meeting: meeting) }
            async let two = outcome { try await both(test.cluster, ("n2", 2), ("n1", 1), meeting: meeting) }
            let (first, second) = await (one, two)
            let failed = failures(first, second)
            let error = try #require(failed.first)
            #expect(failed.count == 1 && error.code == .deadlock && error.sqlState == .deadlockDetected && error.effect == .rolledBack && error.isRetrySafe)
            let deadlock = try #require(error.cause as? Deadlock)
            #expect(deadlock.waits.count == 2 && Set(deadlock.waits.map(\.node)) == ["n1", "n2"])
            #expect(deadlock.waits.allSatisfy { $0.statement.hasPrefix("UPDATE account SET balance = balance + ") })
            #expect(deadlock.waits.compactMap(\.transaction).count == 2 && !error.description.contains("UPDATE"))
            #expect(try await test.total() == test.expectedTotal)
            #expect(try await test.prepared() == [])
            #expect(try await test.count("n1", "tandem.operation WHERE what = 'deadlock'") == 0)
        }
    }

    @Test("with a second attempt both commit")
    func again() async throws {
        try await withCluster(2, Self.patience) { test in
            let meeting = Meeting(2), runner = Task { try await test.cluster.run() }
            defer { runner.cancel() }
            async let one = both(test.cluster, ("n1", 1), ("n2", 2), meeting: meeting, attempts: 3)
            async let two = both(test.cluster, ("n2", 2), ("n1", 1), meeting: meeting, attempts: 3)
            _ = try await (one, two)
            #expect(try await test.balance("n1", 1) == TestCluster.balance)
            #expect(try await test.balance("n2", 2) == TestCluster.balance)
        }
    }

    @Test("a victim of another process is told so, too")
    func processes() async throws {
        try await withCluster(2, Self.patience) { test in
            let (left, right, daemon) = (try test.another(), try test.another(), try test.another())
            defer { for cluster in [left, right, daemon] { cluster.close() } }
            let meeting = Meeting(2), runner = Task { try await daemon.run() }
            defer { runner.cancel() }
            async let one = outcome { try await both(left, ("n1", 1), ("n2", 2), meeting: meeting) }
            async let two = outcome { try await both(right, ("n2", 2), ("n1", 1), meeting: meeting) }
            let (first, second) = await (one, two)
            let error = try #require(failures(first, second).first)
            #expect(error.code == .deadlock && (error.cause as? Deadlock)?.waits.count == 2, "\(error)")
            let node = try #require(error.node)
            #expect(try await test.count(node, "tandem.operation WHERE what = 'deadlock'") == 1)
        }
    }

    @Test("a prepared branch that blocks, and a branch of one message without a mark, are seen as what they are")
    func data() async throws {
        try await withCluster(2, Self.patience) { test in
            let runner = Task { try await test.cluster.run() }
            defer { runner.cancel() }
            let meeting = Meeting(2)
            // Holds the row on n2, and wants the one on n1 once the transaction as data has prepared its branch there.
            async let body = outcome {
                var options = TransactionOptions()
                options.timeout = .seconds(240)
                return try await test.cluster.transaction(options) { tx in
                    try await tx["n2"].execute("UPDATE account SET balance = balance - 1 WHERE id = 2", rows: 1...1)
                    await meeting.arrive()
                    try await wait(for: "the prepared branch") { try await !test.prepared().isEmpty }
                    try await tx["n1"].execute("UPDATE account SET balance = balance + 1 WHERE id = 1", rows: 1...1)
                }
            }
            await meeting.arrive()
            var options = TransactionOptions()
            options.timeout = .seconds(240)
            let request = TransactionRequest(
                [
                    .init("n1", "UPDATE account SET balance = balance - 5 WHERE id = 1"), .init("n2", "UPDATE account SET balance = balance + 5 WHERE id = 2"),
                ], options: options)
            // It is the younger one; what is cancelled is the message with its decision, which waits for the row.
            let error = await refusal { try await test.cluster.run(request) }
            #expect(error?.code == .deadlock && error?.effect == .rolledBack, "\(String(describing: error))")
            #expect(failures(await body).isEmpty)
            #expect(try await test.balance("n1", 1) == TestCluster.balance + 1)
            try await wait(for: "the end of every branch") { try await test.prepared().isEmpty }
        }
    }

    @Test("a victim that reads a stream is told so")
    func streaming() async throws {
        try await withCluster(2, Self.patience) { test in
            let meeting = Meeting(2), runner = Task { try await test.cluster.run() }
            defer { runner.cancel() }
            async let one = outcome { try await both(test.cluster, ("n1", 1), ("n2", 2), meeting: meeting) }
            let error = await refusal {
                var options = TransactionOptions()
                options.timeout = .seconds(240)
                // The younger one, whoever begins first.
                options.id = .make(milliseconds: TransactionID.fresh().milliseconds + 60_000, random: (1, .random(in: 0 ... .max)))
                _ = try await test.cluster.transaction(options) { tx in
                    try await tx["n2"].execute("UPDATE account SET balance = balance - 1 WHERE id = 2", rows: 1...1)
                    await meeting.arrive()
                    _ = try await tx["n1"].stream("SELECT balance FROM account WHERE id = 1 FOR UPDATE") { rows in
                        for try await _ in rows {}
                    }
                }
            }
            #expect(error?.code == .deadlock && (error?.cause as? Deadlock)?.waits.count == 2, "\(String(describing: error))")
            #expect(failures(await one).isEmpty)
        }
    }

    @Test("an id that is sent again while its first use still runs is not in a deadlock with itself")
    func sameID() async throws {
        try await withCluster(2, Self.patience) { test in
            let again = try test.another(), id = TransactionID.fresh()
            defer { again.close() }
            let runner = Task { try await test.cluster.run() }
            defer { runner.cancel() }
            let meeting = Meeting(2)
            var options = TransactionOptions()
            (options.id, options.timeout) = (id, .seconds(240))
            let chosen = options
            async let first = outcome {
                try await test.cluster.transaction(chosen) { tx in
                    try await tx["n1"].execute("UPDATE account SET balance = balance - 1 WHERE id = 1", rows: 1...1)
                    await meeting.arrive()
                    // Until the other use has waited for longer than two looks.
                    try await wait(for: "the second use") { try await test.waiting("n1", since: "2500 ms") == 1 }
                    try await tx["n2"].execute("UPDATE account SET balance = balance + 1 WHERE id = 1", rows: 1...1)
                }
            }
            await meeting.arrive()
            let second = await refusal {
                try await again.transaction(chosen) { tx in
                    try await tx["n1"].execute("UPDATE account SET balance = balance - 1 WHERE id = 1", rows: 1...1)
                    try await tx["n2"].execute("UPDATE account SET balance = balance + 1 WHERE id = 1", rows: 1...1)
                }
            }
            #expect(second?.code == .duplicateTransaction, "\(String(describing: second))")
            #expect(failures(await first).isEmpty)
        }
    }

    @Test("a session of somebody else in the circle is left alone")
    func outsider() async throws {
        try await withCluster(2, Self.patience) { test in
            let runner = Task { try await test.cluster.run() }
            defer { runner.cancel() }
            let meeting = Meeting(2), session = try await test.session("n2")
            try await session.run("BEGIN")
            try await session.run("UPDATE account SET balance = balance WHERE id = 3")
            // One holds 1 of n1 and wants 3 of n2, the session holds 3 and wants 2, two holds 2 of n2 and wants 1 of n1.
            async let one = outcome { try await both(test.cluster, ("n1", 1), ("n2", 3), meeting: meeting) }
            async let two = outcome { try await both(test.cluster, ("n2", 2), ("n1", 1), meeting: meeting) }
            try await wait(for: "both to wait") {
                let counts = (try await test.waiting("n1"), try await test.waiting("n2"))
                return counts.0 == 1 && counts.1 == 1
            }
            try await session.run("UPDATE account SET balance = balance WHERE id = 2")
            try await session.run("COMMIT")
            await session.close()
            let (first, second) = await (one, two)
            let failed = failures(first, second)
            #expect(failed.map(\.code) == [.deadlock])
            #expect((failed.first?.cause as? Deadlock)?.waits.contains { $0.transaction == nil } == true)
        }
    }

    @Test("many that want one row in one order wait for each other, and nobody gives way")
    func contention() async throws {
        try await withCluster(2, Self.patience) { test in
            let pass = DeadlockPass(cluster: test.cluster)
            try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<8 {
                    group.addTask {
                        for _ in 0..<20 {
                            _ = try await test.cluster.transaction { tx in
                                try await tx["n1"].execute("UPDATE account SET balance = balance - 1 WHERE id = 1", rows: 1...1)
                                try await tx["n2"].execute("UPDATE account SET balance = balance + 1 WHERE id = 1", rows: 1...1)
                            }
                        }
                        return 0
                    }
                }
                group.addTask {
                    var ended = 0
                    for _ in 0..<50 { ended += await pass.run() }
                    return ended
                }
                for try await ended in group { #expect(ended == 0) }
            }
        }
    }

    @Test("while nobody waits a look is one statement a node")
    func probes() async throws {
        try await withCluster(2) { test in
            let runtime = TransactionRuntime.of(test.cluster), pass = DeadlockPass(cluster: test.cluster)
            for _ in 0..<3 { _ = await pass.run() }
            #expect(runtime.deadlocks.probeCount == 6)
        }
    }
}

/// Lets tasks go on once so many have come.
private actor Meeting {
    private var missing: Int
    private var waiting: [CheckedContinuation<Void, Never>] = []

    init(_ count: Int) { missing = count }

    func arrive() async {
        missing -= 1
        if missing <= 0 {
            for continuation in waiting { continuation.resume() }
            waiting = []
        } else {
            await withCheckedContinuation { waiting.append($0) }
        }
    }
}
