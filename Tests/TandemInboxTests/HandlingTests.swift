import MetricsTestKit
import TandemCluster
import TandemCore
import TandemInbox
import TandemMessaging
import TandemOutbox
import TandemPostgres
import TandemTestSupport
import TandemTransactions
import Testing

@Suite("Messages of brokers are handled once")
struct HandlingTests {
    /// An event with an id of today.
    private func event(_ test: TestCluster, _ body: String) async throws -> Event {
        let id = try await test.value("n1", "SELECT tandem.event_id()") ?? ""
        return Event(id: id, topic: "order", key: "k", headers: [.init("a", "1")], payload: Array(body.utf8), time: "2026-01-01T00:00:00Z")
    }

    private func withNode(_ metrics: TestMetrics? = nil, _ body: (TestCluster, Inbox) async throws -> Void) async throws {
        try await withCluster(1, modules: [.outbox, .inbox], { $0.metrics = metrics }) { test in
            try await sql(try test.superuser("n1"), "CREATE TABLE effect (body text)", "GRANT ALL ON effect TO tandem")
            try await body(test, Inbox(test.cluster, on: "n1"))
        }
    }

    private func insert(_ event: Event) -> (Branch) async throws -> Void {
        { branch in try await branch.execute("INSERT INTO effect VALUES (\(String(decoding: event.payload, as: UTF8.self)))") }
    }

    @Test("a message takes effect once, however often it comes, and also where its handler failed before")
    func once() async throws {
        let metrics = TestMetrics()
        try await withNode(metrics) { test, inbox in
            let event = try await event(test, "x")
            await #expect(throws: TestFailure.self) {
                try await inbox.handle(event, by: "billing") { branch in
                    try await insert(event)(branch)
                    throw TestFailure("not now")
                }
            }
            #expect(try await test.count("n1", "effect") == 0)
            for expected in [Inbox.Handled.done, .duplicate] {
                let handled = try await inbox.handle(event, by: "billing", insert(event))
                #expect(handled == expected)
            }
            #expect(try await test.count("n1", "effect") == 1)
            for (outcome, count) in [("done", 1), ("duplicate", 1), ("failed", 1)] {
                let labels = [("cluster", "test"), ("node", "n1"), ("consumer", "billing"), ("outcome", outcome)]
                #expect(try metrics.expectCounter("tandem_inbox_handled_total", labels).totalValue == count, "\(outcome)")
            }
        }
    }

    @Test("one that fails again and again is a dead letter with all that it has; the doctor and the gauges tell, and it can be handled after all")
    func poisoned() async throws {
        let metrics = TestMetrics()
        try await withNode(metrics) { test, inbox in
            let event = try await event(test, "x")
            #expect(try await inbox.examine().map(\.status) == [.ok])
            for attempt in 1...3 {
                let handle: () async throws -> Inbox.Handled = {
                    try await inbox.handle(event, from: "/test/n9", by: "billing", attempts: 3) { _ in throw TestFailure("poisoned") }
                }
                if attempt < 3 { await #expect(throws: TestFailure.self) { _ = try await handle() } } else { #expect(try await handle() == .dead) }
            }
            let dead = try await inbox.dead(consumer: "billing")
            #expect(dead.map(\.id) == [event.id] && dead[0].attempts == 3 && dead[0].error == "poisoned" && dead[0].source == "/test/n9" && dead[0].key == "k")
            let handled = try await inbox.handle(event, by: "billing", insert(event))
            #expect(handled == .duplicate)
            let findings = try await inbox.examine()
            #expect(findings.map(\.status) == [.problem] && findings[0].message.contains("1 dead letters of billing"))
            func gauge(_ name: String) throws -> Double? {
                try metrics.expectGauge(name, [("cluster", "test"), ("node", "n1"), ("consumer", "billing")]).lastValue
            }
            try await running({ try await inbox.run(observing: .milliseconds(10)) }) {
                try await wait(for: "the gauges") { (try? gauge("tandem_inbox_dead")) == 1 }
                // It goes into the queue of its consumer, as those of the sink do.
                let retried = try await inbox.retry(consumer: "billing", ids: [event.id])
                #expect(retried == 1)
                try await wait(for: "what waits") { (try? gauge("tandem_inbox_waiting")) == 1 && (try? gauge("tandem_inbox_dead")) == 0 }
                let consumer = InboxConsumer(test.cluster, on: "n1", queue: "billing") { message, branch in try await insert(message.event)(branch) }
                try await running({ try await consumer.run() }) { try await wait(for: "the effect") { try await test.count("n1", "effect") == 1 } }
                try await wait(for: "an empty queue") { (try? gauge("tandem_inbox_waiting")) == 0 }
            }
            #expect(try await inbox.examine().map(\.status) == [.ok])
        }
    }

    @Test("what no text of PostgreSQL holds, in the message or in the error, keeps nothing from becoming a dead letter")
    func unstorable() async throws {
        try await withNode { test, inbox in
            var event = try await event(test, "x")
            (event.topic, event.key, event.contentType, event.headers) = ("a\0", "b\0", "c\0", [.init("d\0", "e\0"), .init("d\0", "f")])
            let handled = try await inbox.handle(event, from: "g\0", by: "billing", attempts: 1) { _ in throw TestFailure("h\0") }
            #expect(handled == .dead)
            let dead = try #require(try await inbox.dead().first)
            #expect(dead.topic == "a\u{FFFD}" && dead.key == "b\u{FFFD}" && dead.source == "g\u{FFFD}" && dead.error == "h\u{FFFD}")
            // All headers are there when it is handled after all.
            _ = try await inbox.retry(consumer: "billing", ids: [event.id])
            let headers = Locked<[Event.Header]>([])
            let consumer = InboxConsumer(test.cluster, on: "n1", queue: "billing") { message, branch in
                headers.withLock { $0 = message.event.headers }
                try await insert(message.event)(branch)
            }
            try await running({ try await consumer.run() }) { try await wait(for: "the effect") { try await test.count("n1", "effect") == 1 } }
            #expect(headers.withLock { $0.map(\.value) } == ["e\0", "f"])
        }
    }

    @Test("a conflict is no attempt: the message is not given up")
    func conflict() async throws {
        try await withNode { test, inbox in
            let event = try await event(test, "x")
            for _ in 0..<3 {
                let error = await refusal {
                    try await inbox.handle(event, by: "billing", attempts: 1) { branch in
                        try await branch.execute("DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '40P01', MESSAGE = 'deadlock'; END $$")
                    }
                }
                #expect(error?.sqlState == SQLState(rawValue: "40P01"))
            }
            let handled = try await inbox.handle(event, by: "billing", attempts: 1, insert(event))
            #expect(handled == .done)
        }
    }

    @Test("one that is older than what is remembered is a dead letter at once, and is not handled")
    func old() async throws {
        try await withNode { test, inbox in
            var event = try await event(test, "x")
            // A day of 2020.
            event.id = "01710000-0000-7000-8000-000000000001"
            let handled = try await inbox.handle(event, by: "billing", insert(event))
            #expect(handled == .dead)
            #expect(try await test.count("n1", "effect") == 0)
            let dead = try await inbox.dead()
            #expect(dead.map(\.reason) == ["too_old"])
        }
    }
}
