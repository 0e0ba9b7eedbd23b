import Foundation
import TandemCluster
import TandemCore
import TandemPostgres
import TandemSagas
import TandemTestSupport
import TandemTransactions
import Testing

// What many sagas at a time have to hold, with cases 16 and 19: a sixtieth of them in `make test`, all in `make soak`.

@Suite("Many sagas, and workers that come and go")
struct SagaStormTests {
    private static let patience = Duration.seconds(Soak.count(1800) + 90)
    private static let section = "sagas: {lease: 1s, poll: 20ms}\n"

    /// Stock and money for many.
    private func stockUp(_ nodes: OrderNodes) async throws {
        try await nodes.test.value("n2", "UPDATE stock SET count = 1000000")
        try await nodes.test.value("n3", "UPDATE purse SET money = 1000000")
    }

    private func ended(_ nodes: OrderNodes) async throws -> Int { try await nodes.test.count("n1", "tandem.saga WHERE ended_at IS NOT NULL") }

    @Test("of 10,000 sagas each step is done or undone once, though a worker is killed a hundred times")
    func kills() async throws {
        let number = Soak.count(10_000), kills = max(8, Soak.count(100))
        try await OrderSaga.withNodes { nodes in
            try await stockUp(nodes)
            try await nodes.test.withConfigurationFile(Self.section) { path in
                let starter = try nodes.sagas { $0.lease = .seconds(1) }
                try await withThrowingTaskGroup(of: SagaID.self) { group in
                    for index in 0..<number {
                        if index >= 32 { _ = try await group.next() }
                        // Every second one has more on its mind than there is money.
                        let amount = index % 2 == 0 ? 1 : 10_000_000
                        group.addTask { try await starter.start(OrderSaga.definition(), input: #"{"item": 7, "amount": \#(amount)}"#, key: "\(index)").id }
                    }
                    try await group.waitForAll()
                }
                #expect(try await nodes.test.count("n1", "tandem.saga") == number)
                let program = Program(name: "tandem", arguments: ["saga", "run", "-c", path])
                var workers = try (0..<3).map { _ in try program.start() }
                defer { for worker in workers { worker.signal(SIGKILL) } }
                for kill in 0..<kills {
                    // Spread over all sagas: the next one dies when the next share of them has ended.
                    try await wait(for: "the share of kill \(kill)", within: Self.patience) { try await ended(nodes) >= kill * number / (kills + 1) }
                    let index = kill % workers.count
                    workers[index].signal(SIGKILL)
                    #expect(try await workers[index].end().isKilled)
                    workers[index] = try program.start()
                }
                try await wait(for: "the end of all sagas", within: Self.patience) { try await ended(nodes) == number }
            }
            let good = (number + 1) / 2, bad = number / 2
            #expect(try await nodes.test.count("n1", "tandem.saga WHERE state = 'completed'") == good)
            #expect(try await nodes.test.count("n1", "tandem.saga WHERE state = 'compensated'") == bad)
            #expect(try await nodes.state() == ["\(good)", "\(1_000_000 - good)", "\(1_000_000 - good)", "\(good)"])
            // Each effect once, and each of those that were undone twice.
            #expect(try await nodes.test.value("n2", "SELECT touched FROM stock") == "\(good + 2 * bad)")
            #expect(try await nodes.test.value("n3", "SELECT count(DISTINCT saga) = count(*) FROM payment") == "t")
        }
    }

    /// A step over two nodes, whose worker is killed on the way.
    private func settlement(_ first: NodeName, _ second: NodeName) -> SagaDefinition {
        let texts: [NodeName: (take: String, back: String)] = [
            "n2": (
                "UPDATE stock SET count = count - 1, touched = touched + 1 WHERE item = 7",
                "UPDATE stock SET count = count + 1, touched = touched + 1 WHERE item = 7"
            ),
            "n3": ("UPDATE purse SET money = money - 1", "UPDATE purse SET money = money + 1"),
        ]
        var step = SagaDefinition.Step(
            "settle", .twoPhase([first, second].map { .init($0, .init(texts[$0]?.take ?? "")) }),
            undo: .twoPhase([first, second].map { .init($0, .init(texts[$0]?.back ?? "")) }))
        step.retry = .init(attempts: 4, base: .milliseconds(20), cap: .milliseconds(200))
        return SagaDefinition("settlement", version: 1, steps: [step])
    }

    @Test(
        "case 16: what undoes a step waits for one that is prepared, and undoes it once where it is committed",
        arguments: ["after_prepare", "before_decision", "after_decision", "before_commit_prepared"], [true, false])
    func prepared(_ point: String, _ isTurned: Bool) async throws {
        func isImpatient(_ configuration: inout ClusterConfiguration) {
            for index in configuration.nodes.indices { configuration.nodes[index].lockTimeout = .milliseconds(200) }
        }
        try await OrderSaga.withNodes(isImpatient) { nodes in
            try await nodes.test.withConfigurationFile(Self.section) { path in
                let sagas = try nodes.sagas { $0.lease = .seconds(1) }
                let definition = isTurned ? settlement("n3", "n2") : settlement("n2", "n3")
                let saga = try await sagas.start(definition).id
                let end = try await Program(name: "tandem", arguments: ["saga", "run", "-c", path], failpoints: "\(point)=kill").run()
                #expect(end.isKilled)
                let prepared = try await nodes.test.prepared()
                #expect(prepared.count == 1)
                try await sagas.cancel(saga, reason: "a test")
                let isDecided = point == "after_decision" || point == "before_commit_prepared"
                try await nodes.withWorker(sagas) {
                    if isDecided {
                        // The branch keeps its rows, the step's record among them, until somebody has finished it: the way back waits, gives up, and comes again.
                        for isWaiting in [true, false, true] {
                            try await wait(for: isWaiting ? "an attempt that waits" : "its end", within: .seconds(90)) {
                                try await nodes.test.waiting("n2") + nodes.test.waiting("n3") > 0 ? isWaiting : !isWaiting
                            }
                        }
                        #expect(try await sagas.end(of: saga, within: .zero).state == .compensating)
                        #expect(try await nodes.test.prepared() == prepared)
                    }
                    try await wait(for: "recovery") {
                        _ = await nodes.test.cluster.recover(grace: .zero)
                        return try await nodes.test.prepared().isEmpty
                    }
                    // Its next attempt may be far away, or was made just now, and then there is nothing to try again.
                    if isDecided { _ = try? await sagas.retry(saga, reason: "its branch is finished") }
                    let end = try await sagas.end(of: saga, within: .seconds(30))
                    #expect(end.state == .compensated, "\(end)")
                }
                #expect(try await nodes.state() == ["0", "10", "100", "0"])
                #expect(try await nodes.test.value("n2", "SELECT touched FROM stock") == (isDecided ? "2" : "0"))
            }
        }
    }

    @Test("workers whose clocks are five minutes off keep their sagas, and take none that is not theirs")
    func clocks() async throws {
        try await OrderSaga.withNodes { nodes in
            try await nodes.test.withConfigurationFile("sagas: {lease: 12s, poll: 20ms}\n") { path in
                let sagas = try nodes.sagas { $0.lease = .seconds(12) }
                let programs = [-300, 300].map { Program(name: "tandem", arguments: ["saga", "run", "-c", path], clockSkew: $0) }
                let workers = try programs.map { try $0.start() }
                defer { for worker in workers { worker.signal(SIGKILL) } }
                // One saga is kept waiting for longer than its lease.
                let blocker = try await nodes.test.session("n2")
                try await blocker.run("BEGIN")
                try await blocker.run("UPDATE stock SET touched = touched WHERE item = 7")
                let held = try await sagas.start(OrderSaga.definition(), input: #"{"item": 7, "amount": 1}"#).id
                let extended = "tandem.saga WHERE id = '\(held)' AND due_at > started_at + interval '16 s'"
                try await wait(for: "leases that are renewed") { try await nodes.test.count("n1", extended) == 1 }
                try await blocker.run("COMMIT")
                #expect(try await sagas.end(of: held, within: .seconds(30)).state == .completed)
                #expect(try await nodes.test.value("n1", "SELECT epoch FROM tandem.saga WHERE id = '\(held)'") == "1")
                // A deadline is the home node's affair, too: none of these has passed.
                let definition = OrderSaga.definition { $0.deadline = .seconds(60) }
                var ids: [SagaID] = []
                for _ in 0..<9 { ids.append(try await sagas.start(definition, input: #"{"item": 7, "amount": 1}"#).id) }
                for id in ids { #expect(try await sagas.end(of: id, within: .seconds(30)).state == .completed) }
                #expect(try await nodes.state() == ["10", "0", "90", "10"])
                await blocker.close()
            }
        }
    }

    @Test("case 19: while workers of two versions come and go, each saga of 10,000 has the steps of its own")
    func versions() async throws {
        let number = Soak.count(10_000)
        func saga(_ version: Int) -> Saga<Int, Int> {
            Saga("versioned", version: version) { context, amount in
                try await context.step("take", on: "n2", undo: .none) { try await $0.execute("UPDATE stock SET count = count - 1") }
                // The fourth version has renamed it.
                return try await context.step(version == 3 ? "pay" : "charge", on: "n3", undo: .none) { branch in
                    try await branch.execute("UPDATE purse SET money = money - \(amount)")
                    return version
                }
            }
        }
        try await OrderSaga.withNodes { nodes in
            try await stockUp(nodes)
            let old = try nodes.sagas(try nodes.test.another()), both = try nodes.sagas(try nodes.test.another()),
                new = try nodes.sagas(try nodes.test.another())
            for sagas in [old, both] { sagas.register(saga(3)) }
            for sagas in [both, new] { sagas.register(saga(4)) }
            let starter = try nodes.sagas()
            try await withThrowingTaskGroup(of: Void.self) { group in
                for index in 0..<number {
                    if index >= 32 { try await group.next() }
                    group.addTask { _ = try await starter.start(saga(index % 2 == 0 ? 3 : 4), input: 1) }
                }
                try await group.waitForAll()
            }
            // The old program alone, then beside the new one, then that and one that still has both.
            try await nodes.withWorker(old) {
                try await wait(for: "the first ones", within: Self.patience) { try await ended(nodes) > number / 8 }
                try await nodes.withWorker(new) {
                    try await wait(for: "half of them", within: Self.patience) { try await ended(nodes) > number / 2 }
                }
            }
            try await nodes.withWorker(new) {
                try await nodes.withWorker(both) {
                    try await wait(for: "the end of all", within: Self.patience) { try await ended(nodes) == number }
                }
            }
            #expect(try await nodes.test.count("n1", "tandem.saga WHERE state = 'completed'") == number)
            #expect(try await nodes.test.count("n3", "tandem.saga_step WHERE step = 'pay'") == (number + 1) / 2)
            #expect(try await nodes.test.count("n3", "tandem.saga_step WHERE step = 'charge'") == number / 2)
            let mixed = "tandem.saga s JOIN tandem.saga_definition d ON d.hash = s.definition WHERE s.output::text <> d.version::text"
            #expect(try await nodes.test.count("n1", mixed) == 0)
            #expect(try await nodes.state() == ["0", "\(1_000_000 - number)", "\(1_000_000 - number)", "0"])
        }
    }
}
