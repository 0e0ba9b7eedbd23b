import Foundation
import TandemCluster
import TandemCore
import TandemLocal
import TandemPostgres
import Testing

@testable import TandemTransactions

/// Transactions that are left in doubt by hand, on real servers: n1 votes, n2 is the commit point, and n3 knows nothing.
@Suite("transactions in doubt", .serialized)
struct InDoubtTests {
    @Test("a transaction in doubt is listed and described: where it is prepared, by whom, and where its commit point is")
    func described() async throws {
        try await withBench { bench in
            let transaction = try await bench.prepare(on: "n1", commitPoint: "n2")
            let listed = await bench.cluster.transactionsInDoubt()
            #expect(listed.unreachable.isEmpty)
            #expect(listed.transactions.map(\.transaction) == [transaction])
            let description = try await bench.cluster.describe(transaction)
            #expect(description.isInDoubt)
            #expect(description.outcome == .inDoubt)
            #expect(description.commitPoint == "n2")
            let branches = Dictionary(uniqueKeysWithValues: description.branches.map { ($0.node, $0) })
            #expect(branches["n1"]?.state == "prepared")
            #expect(branches["n1"]?.gid?.contains(transaction.description) == true)
            #expect(branches["n1"]?.owner == "tandem")
            #expect(branches["n2"]?.row == "none")
            #expect(branches["n3"] == nil)
            let json = try JSONEncoder().encode(description)
            #expect(String(decoding: json, as: UTF8.self).contains("\"isInDoubt\":true"))
            #expect(try JSONDecoder().decode(TransactionDescription.self, from: json).isInDoubt)
        }
    }

    @Test(
        "without a row a wish to commit is refused and writes no tombstone; a wish to roll back writes it, ends the branch and is recorded")
    func rolledBack() async throws {
        try await withBench { bench in
            let transaction = try await bench.prepare(on: "n1", commitPoint: "n2")
            await #expect(throws: TandemError.Code.refusedBySafetyRule) {
                _ = try await code { try await bench.cluster.resolve(transaction, as: .committed, reason: "it looks fine") }
            }
            #expect(try await bench.row(of: transaction, on: "n2") == nil)
            await #expect(throws: TandemError.Code.configurationInvalid) {
                _ = try await code { try await bench.cluster.resolve(transaction, as: .rolledBack, reason: " ") }
            }
            let description = try await bench.cluster.resolve(transaction, as: .rolledBack, reason: "the coordinator is gone")
            #expect(description.outcome == .rolledBack)
            #expect(!description.isInDoubt)
            #expect(description.branches.map(\.state) == ["rolled_back"])
            #expect(try await bench.row(of: transaction, on: "n2") == "A")
            #expect(try await bench.operations(on: "n1") == ["resolve rollback|\(transaction)|the coordinator is gone"])
            #expect(try await bench.work(on: "n1") == 0)
            #expect(try await bench.cluster.outcome(of: transaction, within: .seconds(30)) == .rolledBack)
        }
    }

    @Test("a recorded commit is what counts: the other wish is refused with it, the same wish ends the branches")
    func committed() async throws {
        try await withBench { bench in
            let transaction = try await bench.prepare(on: "n1", commitPoint: "n2")
            try await bench.decide(transaction, on: "n2")
            let error = await #expect(throws: TandemError.self) {
                try await bench.cluster.resolve(transaction, as: .rolledBack, reason: "a mistake")
            }
            #expect(error?.code == .refusedBySafetyRule)
            #expect(error?.message.contains("committed") == true)
            #expect(try await bench.operations(on: "n1").isEmpty)
            #expect(try await bench.cluster.outcome(of: transaction, within: .seconds(30)) == .committed)
            let description = try await bench.cluster.resolve(transaction, as: .committed, reason: "waited long enough")
            #expect(description.outcome == .committed)
            #expect(description.branches.map(\.state) == ["committed", "committed"])
            #expect(description.coordinator == bench.cluster.coordinator)
            #expect(try await bench.work(on: "n1") == 1)
            #expect(try await bench.operations(on: "n1") == ["resolve commit|\(transaction)|waited long enough"])
            // Nothing is left to do: the same wish again changes and records nothing.
            _ = try await bench.cluster.resolve(transaction, as: .committed, reason: "again")
            #expect(try await bench.operations(on: "n1").count == 1)
        }
    }

    @Test("only where the commit point cannot be reached is a wish forced, and the contradiction shows when it comes back")
    func forced() async throws {
        try await withBench { bench in
            let transaction = try await bench.prepare(on: "n1", commitPoint: "n2")
            try await bench.local.kill("n2")
            let before = try await bench.cluster.describe(transaction)
            #expect(before.branches.map(\.state) == ["prepared", "unreachable"])
            #expect(before.commitPoint == "n2")
            #expect(try await bench.cluster.outcome(of: transaction, within: .zero) == .inDoubt)
            let forced = try await bench.cluster.resolve(transaction, as: .committed, reason: "the client saw a receipt")
            #expect(forced.outcome == .committed)
            #expect(!forced.isInDoubt)
            #expect(try await bench.work(on: "n1") == 1)
            #expect(try await bench.operations(on: "n1") == ["resolve commit|\(transaction)|the client saw a receipt"])
            try await bench.local.start("n2")
            try await bench.bury(transaction, at: "n2")
            #expect(try await bench.cluster.describe(transaction).outcome == .inDoubt)
            #expect(try await bench.cluster.outcome(of: transaction, within: .seconds(30)) == .inDoubt)
            await #expect(throws: TandemError.Code.refusedBySafetyRule) {
                _ = try await code { try await bench.cluster.resolve(transaction, as: .rolledBack, reason: "undo it") }
            }
        }
    }

    @Test("the outcome of an undecided transaction is in doubt within the grace time, and rolled back after it")
    func undecided() async throws {
        try await withBench { bench in
            let transaction = try await bench.prepare(on: "n1", commitPoint: "n2")
            #expect(try await bench.cluster.outcome(of: transaction, within: .milliseconds(100)) == .inDoubt)
            #expect(try await bench.row(of: transaction, on: "n2") == nil)
            let impatient = try bench.cluster(grace: .zero)
            #expect(try await impatient.outcome(of: transaction, within: .seconds(30)) == .rolledBack)
            #expect(try await bench.row(of: transaction, on: "n2") == "A")
        }
    }

    @Test("a transaction without any trace is in doubt while it is young, and rolled back when it is not")
    func withoutTrace() async throws {
        try await withBench { bench in
            let young = TransactionID.fresh()
            #expect(try await bench.cluster.outcome(of: young, within: .zero) == .inDoubt)
            let old = TransactionID.make(milliseconds: young.milliseconds - 120_000, random: (1, 2))
            #expect(try await bench.cluster.outcome(of: old, within: .seconds(30)) == .rolledBack)
            await #expect(throws: TandemError.Code.notFound) { _ = try await code { try await bench.cluster.describe(old) } }
            await #expect(throws: TandemError.Code.notFound) {
                _ = try await code { try await bench.cluster.resolve(old, as: .rolledBack, reason: "nothing there") }
            }
            // Behind the horizon a row may have been removed: no answer would be honest.
            try await bench.run("UPDATE tandem.node SET forgotten = '\(young)'", on: "n3")
            await #expect(throws: TandemError.Code.transactionForgotten) {
                _ = try await code { try await bench.cluster.outcome(of: old, within: .zero) }
            }
        }
    }

    @Test("while a session is in the transaction, missing rows prove nothing, however old the id is")
    func open() async throws {
        try await withBench { bench in
            let old = TransactionID.make(milliseconds: TransactionID.fresh().milliseconds - 120_000, random: (3, 4))
            let pool = try #require(bench.cluster.lanes.first?.pools["n3"])
            let session = try await pool.lease(deadline: .now + .seconds(30))
            _ = try await session.run(Batch([Statement("BEGIN"), Register.mark(old)]))
            #expect(try await bench.cluster.outcome(of: old, within: .zero) == .inDoubt)
            #expect(try await bench.cluster.describe(old).branches.map(\.state) == ["unknown"])
            _ = try await session.run(Batch([Register.rollback]))
            #expect(try await bench.cluster.outcome(of: old, within: .seconds(30)) == .rolledBack)
            pool.reactor.execute { pool.release(session) }
        }
    }

    @Test("while a session is in a transaction that it does not name, missing rows prove nothing; when it has ended they do")
    func unnamed() async throws {
        try await withBench { bench in
            let old = TransactionID.make(milliseconds: TransactionID.fresh().milliseconds - 120_000, random: (5, 6))
            let pool = try #require(bench.cluster.lanes.first?.pools["n3"])
            let session = try await pool.lease(deadline: .now + .seconds(30))
            _ = try await session.run(Batch([Register.begin, Statement("SELECT 1")]))
            #expect(try await bench.cluster.outcome(of: old, within: .zero) == .inDoubt)
            #expect(try await bench.cluster.describe(old).outcome == .inDoubt)
            _ = try await session.run(Batch([Register.rollback]))
            #expect(try await bench.cluster.outcome(of: old, within: .seconds(30)) == .rolledBack)
            await #expect(throws: TandemError.Code.notFound) { _ = try await code { try await bench.cluster.describe(old) } }
            pool.reactor.execute { pool.release(session) }
        }
    }

    @Test("sessions that come after the first look do not count, or a busy node would never answer")
    func laterSessions() {
        let one = UnnamedSession(node: "n1", virtualTransaction: "3/7"), two = UnnamedSession(node: "n1", virtualTransaction: "4/1")
        var watch = UnnamedSession.Watch()
        watch.look([one])
        #expect(watch.mayBeOpen)
        watch.look([one, two])
        #expect(watch.mayBeOpen)
        watch.look([two])
        #expect(!watch.mayBeOpen)
        // Once they have ended nobody can come back.
        watch.look([one])
        #expect(!watch.mayBeOpen)
    }

    @Test(
        "a commit point is out of reach where nobody answers, and not where somebody answers and does not say",
        arguments: [
            (TandemError(.nodeUnreachable, ""), true), (TandemError(.connectionLost, ""), true), (TandemError(.deadlineExceeded, ""), true),
            (TandemError(.deadlineExceeded, "", sqlState: .queryCanceled), false), (TandemError(.authenticationFailed, ""), false),
            (TandemError(.identityMismatch, ""), false), (TandemError(.notInitialised, ""), false), (TandemError(.notPermitted, ""), false),
        ])
    func reach(failure: TandemError, isOutOfReach: Bool) {
        #expect(failure.isOutOfReach == isOutOfReach)
    }

    @Test("a branch that committed is proof enough against a wish to roll back, whether or not the commit point can be asked")
    func proof() throws {
        let member = Evidence.Node(name: "n1", row: .work)
        let away = Evidence.Node(name: "n2", failure: TandemError(.nodeUnreachable, ""))
        let evidence = Evidence(transaction: .fresh(), nodes: [member, away], names: [:])
        #expect(throws: TandemError.Code.refusedBySafetyRule) {
            do { _ = try evidence.way(toResolveAs: .rolledBack) } catch let error as TandemError { throw error.code }
        }
    }

    @Test("the end of an id finds the one transaction that has it")
    func found() async throws {
        try await withBench { bench in
            let listed = try await bench.prepare(on: "n1", commitPoint: "n2")
            let decided = try await bench.prepare(on: "n1", commitPoint: "n3")
            try await bench.decide(decided, on: "n3")
            _ = try await bench.cluster.resolve(decided, as: .committed, reason: "decided")
            #expect(try await bench.cluster.find(suffix: String(listed.description.suffix(12)).uppercased()) == listed)
            #expect(try await bench.cluster.find(suffix: String(decided.description.suffix(12))) == decided)
            #expect(try await bench.cluster.find(suffix: decided.description) == decided)
            for unknown in ["12345", "no hex", "ffffffffffff"] {
                await #expect(throws: TandemError.Code.notFound) { _ = try await code { try await bench.cluster.find(suffix: unknown) } }
            }
        }
    }
}

/// Throws an error's code, so that an expectation can name it.
private func code<Value>(_ body: () async throws -> Value) async throws -> Value {
    do { return try await body() } catch let error as TandemError { throw error.code }
}

extension TandemError.Code: Error {}

/// Three local nodes with a table of work, and hands to leave transactions half done.
private struct Bench: Sendable {
    let local: LocalCluster
    let cluster: Cluster

    func cluster(grace: Duration) throws -> Cluster {
        var configuration = cluster.configuration
        configuration.recoveryGrace = grace
        return try Cluster(configuration)
    }

    /// Leaves a branch prepared that waits for a decision of `commitPoint`.
    func prepare(on node: NodeName, commitPoint: NodeName) async throws -> TransactionID {
        let transaction = TransactionID.fresh()
        let members = [try await id(of: node), try await id(of: commitPoint)]
        let gid = GID(cluster: cluster.configuration.name, transaction: transaction, node: members[0], commitPoint: members[1])
        try await run(try branch(transaction, members[0], members) + [Register.prepare(gid)], on: node, expecting: "PREPARE TRANSACTION")
        return transaction
    }

    /// Commits the commit point's branch.
    func decide(_ transaction: TransactionID, on node: NodeName) async throws {
        let id = try await id(of: node)
        try await run(try branch(transaction, id, [id]) + [Register.commit], on: node, expecting: "COMMIT")
    }

    /// Writes the tombstone, as recovery of another process would.
    func bury(_ transaction: TransactionID, at node: NodeName) async throws {
        try await run(Register.verdict(transaction, coordinator: "test"), on: node, expecting: "COMMIT")
    }

    private func branch(_ transaction: TransactionID, _ node: NodeID, _ members: [NodeID]) throws -> [Statement] {
        [
            Statement("BEGIN"), Register.mark(transaction), Statement("INSERT INTO work VALUES (1)"),
            try RowStatement(node: node, coordinator: cluster.coordinator).insert(transaction, members: members, isMarked: true),
        ]
    }

    func row(of transaction: TransactionID, on node: NodeName) async throws -> String? {
        let result = try await run("SELECT kind FROM tandem.branch WHERE transaction_id = '\(transaction)'", on: node)
        return result.rowCount == 0 ? nil : result.text(0, 0)
    }

    func operations(on node: NodeName) async throws -> [String] {
        let result = try await run(
            "SELECT concat_ws('|', what, transaction_id, reason) FROM tandem.operation WHERE who = current_user ORDER BY id", on: node)
        return (0..<result.rowCount).compactMap { result.text($0, 0) }
    }

    func work(on node: NodeName) async throws -> Int? {
        try await run("SELECT count(*) FROM work", on: node).text(0, 0).flatMap { Int($0) }
    }

    private func id(of node: NodeName) async throws -> NodeID {
        let text = try await run("SELECT node_id FROM tandem.node", on: node).text(0, 0)
        return try #require(text.flatMap { Int16($0) }.flatMap { NodeID(rawValue: $0) })
    }

    @discardableResult
    func run(_ sql: String, on node: NodeName) async throws -> ResultSet {
        try await run([Statement(sql)], on: node)
    }

    @discardableResult
    private func run(_ statements: [Statement], on node: NodeName, expecting tag: String? = nil) async throws -> ResultSet {
        let reply = try await cluster.runControl(node, Batch(statements), within: .seconds(30)).only
        if let error = reply.error { throw error }
        if let tag { try #require(reply.lastTag == tag) }
        return try #require(reply.results.last)
    }
}

/// Starts three nodes that are gone afterwards.
private func withBench(_ body: (Bench) async throws -> Void) async throws {
    let directory = "/var/tmp/tandem-in-doubt-\(UUID().uuidString.lowercased())"
    var options = LocalClusterOptions(directory: directory, nodeCount: 3, isEphemeral: true)
    options.fsync = false
    let local = try await LocalCluster.start(options)
    do {
        let nodes = local.nodes.map { NodeConfiguration($0.name, conninfo: $0.socketConninfo) }
        let configuration = try ClusterConfiguration("doubt", nodes: nodes)
        _ = try await Initialiser(configuration).run()
        let bench = Bench(local: local, cluster: try Cluster(configuration))
        for node in local.nodes { try await bench.run("CREATE TABLE work (id integer)", on: node.name) }
        try await body(bench)
        bench.cluster.close()
        try await local.stop()
    } catch {
        try? await local.stop()
        throw error
    }
}
