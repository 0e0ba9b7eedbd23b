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
    /// Where events come from.
    enum Source: CaseIterable {
        case outbox
        /// A table of another outbox.
        case table

        var option: String { self == .outbox ? "from_start: true" : "table: {name: jobs}" }

        func prepare(_ test: TestCluster) async throws {
            guard self == .table else { return }
            try await test.value(
                "n1",
                """
                CREATE TABLE jobs (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, aggregate_id text, type text NOT NULL DEFAULT 't', data jsonb,
                    status text NOT NULL DEFAULT 'pending', created_at timestamptz NOT NULL DEFAULT now(), processed_at timestamptz)
                """)
            try await test.value("n1", "CREATE INDEX ON jobs (id) WHERE status = 'pending'")
            try await test.value("n1", "GRANT ALL ON jobs TO tandem")
        }

        /// Publishes numbers over three keys.
        func publish(_ test: TestCluster, _ range: ClosedRange<Int>) async throws {
            try await test.cluster["n1"].transaction { branch in
                for number in range {
                    switch self {
                    case .outbox: try await branch.publish(topic: "t", key: "k\(number % 3)", payload: number)
                    case .table: try await branch.execute("INSERT INTO jobs (aggregate_id, data) VALUES (\("k\(number % 3)"), to_jsonb(\(number)::int))")
                    }
                }
            }
        }

        /// Whether the sink has everything, as far as that is written.
        func isDrained(_ test: TestCluster) async throws -> Bool {
            guard self == .outbox else { return try await test.count("n1", "jobs WHERE status <> 'sent'") == 0 }
            return try await Outbox(test.cluster, on: "n1").lag().allSatisfy { $0.events == 0 && $0.sink == "copies" }
        }
    }

    private static let patience = Duration.seconds(60)

    private func withProgram(_ source: Source, lease: String = "1s", _ body: (TestCluster, Program) async throws -> Void) async throws {
        try await withCluster(2, modules: [.outbox, .inbox]) { test in
            try await source.prepare(test)
            let section = """
                outbox:
                  lease: \(lease)
                  poll: 20ms
                  batch: 7
                  sinks:
                    copies: {from: [n1], \(source.option), postgres: {node: n2, queue: orders}}

                """
            try await test.withConfigurationFile(section) { path in
                try await body(test, Program(name: "tandem", arguments: ["outbox", "run", "-c", path]))
            }
        }
    }

    private func queued(_ test: TestCluster) async throws -> [Int] {
        try await test.cluster["n2"].query("SELECT convert_from(payload, 'UTF8')::int FROM tandem.inbox_queue ORDER BY place", as: Int.self)
    }

    @Test(
        "case 8: of 200 kills between the sink's answer and the note of it none loses an event or brings one twice",
        arguments: ["relay_after_delivery", "relay_after_note"], Source.allCases)
    func killed(_ point: String, _ source: Source) async throws {
        let kills = max(6, Soak.count(200)), each = 20
        try await withProgram(source) { test, program in
            for kill in 0..<kills {
                try await source.publish(test, (kill * each + 1)...((kill + 1) * each))
                var dying = program
                dying.failpoints = "\(point)=kill"
                #expect(try await dying.run().isKilled, "kill \(kill)")
            }
            let last = try program.start()
            defer { last.signal(SIGKILL) }
            try await wait(for: "everything", within: Self.patience) { try await source.isDrained(test) }
            last.signal(SIGTERM)
            #expect(try await last.end() == .exited(0))
            #expect(try await queued(test) == Array(1...(kills * each)))
        }
    }

    @Test(
        "case 7: a relay that is stopped beyond its lease and wakes up brings nothing twice, and leaves the sink to its successor", arguments: Source.allCases)
    func stopped(_ source: Source) async throws {
        try await withProgram(source, lease: "9s") { test, program in
            var pausing = program
            pausing.failpoints = "relay_after_delivery=1*stop->off"
            let first = try pausing.start()
            defer { first.signal(SIGKILL) }
            try await source.publish(test, 1...10)
            try await wait(for: "its standstill") { first.isStopped }
            let second = try program.start()
            defer { second.signal(SIGKILL) }
            try await source.publish(test, 11...20)
            func count() async throws -> Int { try await test.count("n2", "tandem.inbox_queue") }
            try await wait(for: "the successor's events", within: Self.patience) { try await count() == 20 }
            let epoch = try await test.value("n1", "SELECT max(epoch) FROM tandem.outbox_sink")
            first.signal(SIGCONT)
            try await source.publish(test, 21...30)
            try await wait(for: "the last ones", within: Self.patience) { try await count() == 30 }
            // Whoever has woken up has asked for the lease by now, or does so soon: it is the successor's.
            if source == .outbox { #expect(try await test.value("n1", "SELECT max(epoch) FROM tandem.outbox_sink") == epoch) }
            for relay in [first, second] {
                relay.signal(SIGTERM)
                #expect(try await relay.end() == .exited(0))
            }
            #expect(try await queued(test) == Array(1...30))
            #expect(try await source.isDrained(test))
        }
    }

    @Test("a relay that is stopped beyond its lease just before it hands events over sends none of them when it wakes up")
    func stoppedBefore() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let section = "outbox:\n  lease: 1s\n  poll: 20ms\n  sinks:\n    lines: {from: [n1], from_start: true, stdout: true}\n\n"
            try await test.withConfigurationFile(section) { path in
                var programs = (1...2).map { number in
                    var program = Program(name: "tandem", arguments: ["outbox", "run", "-c", path])
                    program.output = "\(NSTemporaryDirectory())/tandem-\(test.database)-\(number).lines"
                    return program
                }
                programs[0].failpoints = "relay_before_delivery=1*stop->off"
                defer { for program in programs { unlink(program.output ?? "") } }
                func lines(_ program: Program) throws -> [Int] {
                    try String(contentsOfFile: program.output ?? "", encoding: .utf8).matches(of: #/"data":(\d+)/#).compactMap { Int($0.1) }
                }
                let first = try programs[0].start()
                defer { first.signal(SIGKILL) }
                try await Source.outbox.publish(test, 1...10)
                try await wait(for: "its standstill") { first.isStopped }
                let second = try programs[1].start()
                defer { second.signal(SIGKILL) }
                try await wait(for: "the successor's events", within: Self.patience) { try lines(programs[1]).count == 10 }
                try await wait(for: "its note of them") { try await Outbox(test.cluster, on: "n1").lag().map(\.events) == [0] }
                first.signal(SIGCONT)
                second.signal(SIGTERM)
                #expect(try await second.end() == .exited(0))
                try await Source.outbox.publish(test, 11...20)
                try await wait(for: "the last ones", within: Self.patience) { try lines(programs[0]).last == 20 }
                first.signal(SIGTERM)
                #expect(try await first.end() == .exited(0))
                #expect(try lines(programs[0]) == Array(11...20))
                #expect(try lines(programs[1]) == Array(1...10))
            }
        }
    }
}
