import Foundation
import TandemCluster
import TandemCore
import TandemInbox
import TandemLocal
import TandemMessaging
import TandemOutbox
import TandemPostgres
import TandemTestSupport
import TandemTransactions
import Testing

// Case 10, and case 8 end to end: a sixtieth of the crashes in `make test`, all in `make soak`.

@Suite("Events while servers, sessions and relays are killed")
struct OutboxStormTests {
    private static let patience = Duration.seconds(Soak.count(1800) + 90)

    /// How far publishers and consumer are.
    private final class Pace: Sendable {
        private struct State {
            var acknowledged = 0
            var handled = 0
            var isOver = false
        }

        private let state = Locked(State())

        /// Events whose publisher knows that they are committed.
        var acknowledged: Int { state.withLock { $0.acknowledged } }
        /// Events that the consumer has not handled yet, as far as is known.
        var backlog: Int { state.withLock { $0.acknowledged - $0.handled } }
        var isOver: Bool { state.withLock { $0.isOver } }

        func acknowledge() { state.withLock { $0.acknowledged += 1 } }
        func handled(_ number: Int) { state.withLock { $0.handled = number } }
        func end() { state.withLock { $0.isOver = true } }
    }

    /// On n1 each event has a row as its cause and adds one to what was booked there, on n2 its effect is a row and adds one, too.
    private func makeTables(_ test: TestCluster) async throws {
        try await sql(try test.conninfo("n1"), "CREATE TABLE cause (number int PRIMARY KEY)")
        try await sql(
            try test.conninfo("n2"), "CREATE TABLE effect (place serial, number int, key text)", "CREATE TABLE witness (number int PRIMARY KEY)")
    }

    /// Publishes a number and returns when that is acknowledged; every third one is a global transaction.
    ///
    /// The library tries again what is safe to be tried again. After a lost answer nobody knows, and the row of the number tells.
    private func publish(_ number: Int, key: Int, on cluster: Cluster) async throws {
        var options = TransactionOptions()
        options.attempts = 5
        try await wait(for: "the event \(number)", within: Self.patience) {
            do {
                try await cluster.transaction(options) { tx in
                    guard try await tx["n1"].execute("INSERT INTO cause (number) VALUES (\(number)) ON CONFLICT DO NOTHING") == 1 else { return }
                    try await tx["n1"].execute("UPDATE account SET balance = balance + 1 WHERE id = \(key + 1)", rows: 1...1)
                    try await tx["n1"].publish(topic: "t", key: "k\(key)", payload: number)
                    if number % 3 == 0 { try await tx["n2"].execute("INSERT INTO witness (number) VALUES (\(number))") }
                }
                return true
            } catch is TandemError {
                return false
            }
        }
    }

    /// Publishes until that is over: each publisher has a key, and the next number comes when the one before is known to be committed.
    private func publish(_ publisher: Int, of publishers: Int, on cluster: Cluster, _ pace: Pace, backlog: Int = .max) async throws {
        var number = publisher
        while !pace.isOver {
            if pace.backlog > backlog {
                try Task.checkCancellation()
                await tick()
                continue
            }
            try await publish(number, key: publisher, on: cluster)
            pace.acknowledge()
            number += publishers
        }
    }

    /// The effects know nothing of duplicates: that is the inbox's affair.
    private func consumer(_ cluster: Cluster) -> InboxConsumer {
        var options = InboxConsumer.Options()
        options.poll = .milliseconds(20)
        options.wait = .milliseconds(10)
        options.longestWait = .milliseconds(200)
        return InboxConsumer(cluster, on: "n2", queue: "orders", options: options) { message, branch in
            let number = String(decoding: message.event.payload, as: UTF8.self)
            try await branch.execute("INSERT INTO effect (number, key) VALUES (\(number)::int, \(message.event.key))")
            try await branch.execute("UPDATE account SET balance = balance + 1 WHERE id = 1", rows: 1...1)
        }
    }

    private func effects(_ test: TestCluster) async throws -> Int { try await test.count("n2", "effect") }

    /// Waits until nothing is left to be done, by whom it may be.
    private func drain(_ test: TestCluster, _ pace: Pace) async throws {
        try await wait(for: "all effects", within: Self.patience) { try await effects(test) >= pace.acknowledged }
        try await wait(for: "the note of what was sent", within: Self.patience) {
            try await Outbox(test.cluster, on: "n1").lag().allSatisfy { $0.sink == "copies" && $0.events == 0 && $0.parked == 0 && $0.dead == 0 }
        }
        try await wait(for: "an empty queue", within: Self.patience) { try await test.count("n2", "tandem.inbox_queue") == 0 }
        try await wait(for: "the end of every branch", within: Self.patience) { try await test.prepared().isEmpty }
    }

    /// Each event that was acknowledged has its effect once, in the order of its key, and both nodes have booked the same.
    private func expectOnce(_ test: TestCluster, _ pace: Pace) async throws {
        let number = pace.acknowledged
        #expect(try await test.count("n1", "cause") == number)
        #expect(try await effects(test) == number)
        #expect(try await test.value("n2", "SELECT count(DISTINCT number) FROM effect") == "\(number)")
        let halves = "witness w FULL JOIN (SELECT number FROM effect WHERE number % 3 = 0) e USING (number) WHERE w.number IS NULL OR e.number IS NULL"
        #expect(try await test.count("n2", halves) == 0, "a global transaction is whole")
        let swapped = "(SELECT number, lag(number) OVER (PARTITION BY key ORDER BY place) AS before FROM effect) e WHERE e.number < e.before"
        #expect(try await test.count("n2", swapped) == 0)
        let start = TestCluster.accounts * TestCluster.balance
        for node: NodeName in ["n1", "n2"] { #expect(try await test.value(node, "SELECT sum(balance) - \(start) FROM account") == "\(number)") }
        #expect(try await Inbox(test.cluster, on: "n2").dead().isEmpty)
    }

    // MARK: Servers and sessions

    /// Crashes servers, or ends all sessions of the test's databases, of one node and of both.
    private func disturb(_ test: TestCluster, _ round: Int) async throws {
        let choices: [[NodeName]] = [["n1"], ["n2"], ["n1", "n2"]], nodes = choices[round / 2 % choices.count]
        if round % 2 == 0 {
            for node in nodes {
                try await test.value(
                    node, "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
            }
        } else {
            for node in nodes { try await test.local.kill(node) }
            for node in nodes { try await test.local.start(node) }
        }
    }

    /// What takes long is tried again soon; events are in branches that are prepared, since n2 decides.
    private static func hurry(_ configuration: inout ClusterConfiguration) {
        configuration.recoveryInterval = .milliseconds(200)
        configuration.recoveryGrace = .seconds(2)
        configuration.nodes[1].commitPointStrength = 1
        for index in configuration.nodes.indices { configuration.nodes[index].lockTimeout = .seconds(5) }
    }

    @Test("case 10: servers crash and sessions are ended under load, again and again: all goes on by itself, and each acknowledged event has its effect once")
    func servers() async throws {
        let rounds = max(6, Soak.count(360)), publishers = 4
        try await withDisturbedCluster(2, modules: [.outbox, .inbox], Self.hurry) { test in
            try await makeTables(test)
            var options = RelayOptions()
            options.poll = .milliseconds(20)
            options.isFromStart = true
            options.wait = .milliseconds(5)
            options.longestWait = .milliseconds(200)
            options.lease = .seconds(5)
            let pace = Pace(), consumer = consumer(test.cluster)
            let relay = try OutboxRelay(test.cluster, from: "n1", to: "copies", InboxSink(test.cluster, on: "n2", queue: "orders"), options: options)
            try await running({ try await test.cluster.run() }) {
                try await running({ try await relay.run() }) {
                    try await running({ try await consumer.run() }) {
                        try await withThrowingTaskGroup(of: Void.self) { group in
                            for publisher in 0..<publishers {
                                group.addTask { try await publish(publisher, of: publishers, on: test.cluster, pace) }
                            }
                            for round in 0..<rounds {
                                // Publishing has to go on by itself before the next disturbance comes, and so has the way to the effects.
                                let goal = pace.acknowledged + 40, known = try await effects(test)
                                try await wait(for: "events before round \(round)", within: Self.patience) { pace.acknowledged >= goal }
                                try await wait(for: "effects before round \(round)", within: Self.patience) { try await effects(test) > known }
                                try await disturb(test, round)
                            }
                            pace.end()
                            try await group.waitForAll()
                        }
                        try await drain(test, pace)
                    }
                }
            }
            try await expectOnce(test, pace)
        }
    }

    // MARK: Relays

    @Test("case 8: 200 relays, each killed at whatever it was doing while others publish, lose no event and bring none twice")
    func relays() async throws {
        let kills = max(8, Soak.count(200)), publishers = 2
        let section = """
            outbox:
              lease: 1s
              poll: 20ms
              batch: 20
              sinks:
                copies: {from: [n1], from_start: true, postgres: {node: n2, queue: orders}}

            """
        try await withCluster(2, modules: [.outbox, .inbox]) { test in
            try await makeTables(test)
            let pace = Pace(), consumer = consumer(test.cluster)
            try await test.withConfigurationFile(section) { path in
                let program = Program(name: "tandem", arguments: ["outbox", "run", "-c", path])
                try await running({ try await consumer.run() }) {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for publisher in 0..<publishers {
                            group.addTask { try await publish(publisher, of: publishers, on: test.cluster, pace, backlog: 400) }
                        }
                        for kill in 0..<kills { try await runAndKill(program, test, pace, "kill \(kill)") }
                        pace.end()
                        try await group.waitForAll()
                    }
                    let last = try program.start()
                    do { try await drain(test, pace) } catch {
                        last.signal(SIGKILL)
                        throw error
                    }
                    last.signal(SIGTERM)
                    #expect(try await last.end() == .exited(0))
                }
            }
            try await expectOnce(test, pace)
        }
    }

    /// Runs a relay and kills it somewhere behind its start: at once, while it waits for the lease, or when it has brought some events.
    private func runAndKill(_ program: Program, _ test: TestCluster, _ pace: Pace, _ what: String) async throws {
        let relay = try program.start()
        do {
            let goal = try await effects(test) + Int.random(in: 0...80)
            try await wait(for: "the moment of \(what)", within: Self.patience) {
                let number = try await effects(test)
                pace.handled(number)
                return number >= goal
            }
            for _ in 0..<Int.random(in: 0...8) { await tick() }
        } catch {
            relay.signal(SIGKILL)
            throw error
        }
        relay.signal(SIGKILL)
        #expect(try await relay.end().isKilled, "\(what)")
    }
}
