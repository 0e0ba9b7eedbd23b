import Foundation
import TandemCluster
import TandemCore
import TandemInbox
import TandemOutbox
import TandemPostgres
import TandemTestSupport
import TandemTransactions
import Testing

// Case 8 of the outbox, with rows F4 and F5 of the matrix of faults.

@Suite("Relays that are killed")
struct OutboxCrashTests {
    private static let patience = Duration.seconds(60)

    /// Publishes numbers, each in a transaction of its own, over three keys.
    private func publish(_ test: TestCluster, _ range: ClosedRange<Int>) async throws {
        try await test.cluster["n1"].transaction { branch in
            for number in range { try await branch.publish(topic: "t", key: "k\(number % 3)", payload: number) }
        }
    }

    @Test(
        "case 8: of 200 kills between the sink's answer and the note of it none loses an event or brings one twice",
        arguments: ["relay_after_delivery", "relay_after_note"])
    func killed(_ point: String) async throws {
        let kills = max(6, Soak.count(200)), each = 20
        try await withCluster(2, modules: [.outbox, .inbox]) { test in
            let section = """
                outbox:
                  lease: 1s
                  poll: 20ms
                  batch: 7
                  sinks:
                    copies: {from: [n1], from_start: true, postgres: {node: n2, queue: orders}}

                """
            try await test.withConfigurationFile(section) { path in
                let program = Program(name: "tandem", arguments: ["outbox", "run", "-c", path])
                for kill in 0..<kills {
                    try await publish(test, (kill * each + 1)...((kill + 1) * each))
                    var dying = program
                    dying.failpoints = "\(point)=kill"
                    #expect(try await dying.run().isKilled, "kill \(kill)")
                }
                let last = try program.start()
                defer { last.signal(SIGKILL) }
                try await wait(for: "everything", within: Self.patience) {
                    try await Outbox(test.cluster, on: "n1").lag().allSatisfy { $0.events == 0 && $0.sink == "copies" }
                }
                last.signal(SIGTERM)
                #expect(try await last.end() == .exited(0))
            }
            let numbers = try await test.cluster["n2"].query(
                "SELECT convert_from(payload, 'UTF8')::int FROM tandem.inbox_queue ORDER BY place", as: Int.self)
            #expect(numbers == Array(1...(kills * each)))
        }
    }

    @Test("case 7: a relay that is stopped beyond its lease and wakes up brings nothing twice, and leaves the sink to its successor")
    func stopped() async throws {
        try await withCluster(2, modules: [.outbox, .inbox]) { test in
            let section = "outbox:\n  lease: 1s\n  poll: 20ms\n  sinks:\n    copies: {from: [n1], from_start: true, postgres: {node: n2, queue: orders}}\n"
            try await test.withConfigurationFile(section) { path in
                let program = Program(name: "tandem", arguments: ["outbox", "run", "-c", path])
                var pausing = program
                pausing.failpoints = "relay_after_delivery=1*stop->off"
                let first = try pausing.start()
                defer { first.signal(SIGKILL) }
                try await publish(test, 1...10)
                try await wait(for: "its standstill") { first.isStopped }
                let second = try program.start()
                defer { second.signal(SIGKILL) }
                try await publish(test, 11...20)
                func count() async throws -> Int { try await test.count("n2", "tandem.inbox_queue") }
                try await wait(for: "the successor's events", within: Self.patience) { try await count() == 20 }
                let epoch = try await test.value("n1", "SELECT epoch FROM tandem.outbox_sink")
                first.signal(SIGCONT)
                try await publish(test, 21...30)
                try await wait(for: "the last ones") { try await count() == 30 }
                // Whoever has woken up has asked for the lease by now, or does so soon: it is the successor's.
                #expect(try await test.value("n1", "SELECT epoch FROM tandem.outbox_sink") == epoch)
                for relay in [first, second] {
                    relay.signal(SIGTERM)
                    #expect(try await relay.end() == .exited(0))
                }
            }
            let numbers = try await test.cluster["n2"].query(
                "SELECT convert_from(payload, 'UTF8')::int FROM tandem.inbox_queue ORDER BY place", as: Int.self)
            #expect(numbers == Array(1...30))
        }
    }
}
