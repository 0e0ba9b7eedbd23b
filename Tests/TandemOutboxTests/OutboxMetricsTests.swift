import MetricsTestKit
import TandemCluster
import TandemCore
import TandemMessaging
import TandemPostgres
import TandemTestSupport
import TandemTransactions
import Testing

@testable import TandemOutbox

@Suite("What an outbox tells metrics and the doctor")
struct OutboxMetricsTests {
    /// Runs a relay to a sink in memory while the body runs; an event is tried twice.
    private func withRelay(_ test: TestCluster, _ sink: RecordingSink, _ policy: RelayOptions.Refusal, _ body: () async throws -> Void) async throws {
        try await relaying(test.cluster, to: sink, { ($0.attempts, $0.refusal) = (2, policy) }, body)
    }

    /// Publishes numbers, odd and even ones under a key of their own, as if it had been some time ago.
    private func publish(_ test: TestCluster, _ numbers: ClosedRange<Int>, ago time: String = "0") async throws {
        let session = try await test.session("n1")
        try await session.run("BEGIN")
        for number in numbers { try await session.run("SELECT tandem.publish('t', '\(number % 2 == 0 ? "even" : "odd")', '\(number)')") }
        try await session.run("UPDATE tandem.outbox SET at = at - interval '\(time)' WHERE xid = pg_current_xact_id()")
        try await session.run("COMMIT")
        await session.close()
    }

    // MARK: Metrics

    /// A gauge of the sink, once there is one.
    private func value(of name: String, in metrics: TestMetrics) -> Double? {
        try? metrics.expectGauge("tandem_outbox_\(name)", [("cluster", "test"), ("node", "n1"), ("sink", "test")]).lastValue
    }

    @Test("the metrics tell the life of a sink that is down, takes, refuses, and is down again: each of them, and no others")
    func life() async throws {
        let metrics = TestMetrics(), node = [("cluster", "test"), ("node", "n1")], sinkOfNode = node + [("sink", "test")]
        func gauge(_ name: String) -> Double? { try? metrics.expectGauge("tandem_outbox_\(name)", name == "slots_free" ? node : sinkOfNode).lastValue }
        func total(_ name: String) -> Int64? { try? metrics.expectCounter("tandem_outbox_\(name)_total", sinkOfNode).totalValue }
        try await withCluster(1, modules: [.outbox], { $0.metrics = metrics }) { test in
            let sink = RecordingSink(), outbox = Outbox(test.cluster, on: "n1")
            sink.state.withLock {
                $0.isDown = true
                $0.refuses = { $0.payload == Array("2".utf8) }
            }
            try await publish(test, 1...4, ago: "1 hour")
            try await running({ try await outbox.run(every: .milliseconds(10)) }) {
                try await withRelay(test, sink, .pause) {
                    try await wait(for: "a sink that is down") {
                        gauge("sink_unavailable") == 1 && gauge("lag_events") ?? 0 >= 4 && gauge("lag_seconds") ?? 0 >= 3600 && gauge("dead") == 0
                    }
                    #expect((total("sent") ?? 0) == 0 && (total("refused") ?? 0) == 0)
                    #expect(gauge("parked") == 0 && gauge("slots_free") == 7)

                    // 2 is refused, and 4 waits behind it.
                    sink.state.withLock { $0.isDown = false }
                    try await wait(for: "one that is refused, with the one behind it") { gauge("parked") == 2 && total("refused") == 2 }
                    try await wait(for: "a sink that has all") { gauge("lag_events") == 0 && gauge("lag_seconds") == 0 }
                    #expect(gauge("sink_unavailable") == 0 && gauge("dead") == 0 && total("sent") == 2)

                    sink.state.withLock { $0.isDown = true }
                    try await publish(test, 5...5)
                    try await wait(for: "a sink that is down again") { gauge("sink_unavailable") == 1 && gauge("lag_events") ?? 0 >= 1 }
                    sink.state.withLock { $0.isDown = false }
                    try await wait(for: "its end") { gauge("sink_unavailable") == 0 && total("sent") == 3 && gauge("lag_events") == 0 }
                }
                let count = try await outbox.retry(sink: "test")
                #expect(count == 2)
                try await withRelay(test, sink, .dead) {
                    try await wait(for: "a dead letter") { gauge("dead") == 1 && gauge("parked") == 0 }
                    try await wait(for: "the one behind it") { sink.texts == ["1", "3", "5", "4"] && total("sent") == 4 }
                    #expect(total("refused") == 4, "each attempt")
                }
                // The present slot is left, and its events stay for replays.
                try await test.value("n1", "UPDATE tandem.outbox_settings SET slot_bytes = 0")
                try await wait(for: "a slot that is kept") { gauge("slots_free") == 6 }
            }
            let made = Set((metrics.counters.map(\.label) + metrics.recorders.map(\.label)).filter { $0.hasPrefix("tandem_outbox_") })
            #expect(made == Set(Telemetry.Metric.allCases.map(\.rawValue)))
        }
    }

    @Test("a sink that is forgotten has no lag any more")
    func forgotten() async throws {
        let metrics = TestMetrics()
        func gauge(_ name: String) -> Double? { value(of: name, in: metrics) }
        try await withCluster(1, modules: [.outbox], { $0.metrics = metrics }) { test in
            let outbox = Outbox(test.cluster, on: "n1")
            try await test.value("n1", "SELECT tandem.outbox_add_sink('test')")
            try await publish(test, 1...4, ago: "1 hour")
            try await running({ try await outbox.run(every: .milliseconds(10)) }) {
                try await wait(for: "the lag") { gauge("lag_events") == 4 && gauge("lag_seconds") ?? 0 >= 3600 }
                _ = try await outbox.remove(sink: "test")
                try await wait(for: "its end") { gauge("lag_events") == 0 && gauge("lag_seconds") == 0 }
            }
        }
    }

    @Test("the lag of a table grows while its sink is down")
    func table() async throws {
        let metrics = TestMetrics()
        func gauge(_ name: String) -> Double? { value(of: name, in: metrics) }
        try await withCluster(1, { $0.metrics = metrics }) { test in
            try await sql(
                try test.conninfo("n1"),
                """
                CREATE TABLE outbox (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, aggregate_id text, type text NOT NULL, data jsonb, \
                status text NOT NULL DEFAULT 'pending', created_at timestamptz NOT NULL DEFAULT now(), processed_at timestamptz)
                """)
            func insert(_ number: Int) async throws {
                try await sql(
                    try test.conninfo("n1"),
                    "INSERT INTO outbox (aggregate_id, type, data, created_at) VALUES ('a', 't', '\(number)', now() - interval '1 hour')")
            }
            let sink = RecordingSink()
            var options = RelayOptions()
            (options.poll, options.wait, options.longestWait) = (.milliseconds(20), .milliseconds(5), .milliseconds(50))
            let relay = try TableRelay(test.cluster, from: "n1", table: OutboxTable("outbox"), to: "test", sink, options: options)
            try await running({ try await relay.run() }) {
                try await insert(1)
                try await wait(for: "a sink that has all") { sink.texts == ["1"] && gauge("lag_events") == 0 }
                sink.state.withLock { $0.isDown = true }
                for number in 2...3 { try await insert(number) }
                try await wait(for: "the lag", within: .seconds(120)) {
                    gauge("lag_events") == 2 && gauge("lag_seconds") ?? 0 >= 3600 && gauge("sink_unavailable") == 1
                }
                sink.state.withLock { $0.isDown = false }
                try await wait(for: "its end") { gauge("lag_events") == 0 && sink.texts == ["1", "2", "3"] }
            }
        }
    }

    // MARK: The doctor

    private func findings(_ outbox: Outbox) async throws -> [String] {
        try await outbox.examine().map { finding in
            #expect(finding.node == "n1" && finding.check == "outbox")
            return "\(finding.status): \(finding.message)"
        }
    }

    @Test("the doctor finds a sink that is behind, and says whether anybody relays to it; while it is not late, all is well")
    func behind() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let outbox = Outbox(test.cluster, on: "n1"), session = try await test.session("n1")
            #expect(try await findings(outbox) == ["ok: 0 sinks, none is behind, nothing is set aside"])
            try await session.run("SELECT tandem.outbox_add_sink('test', 2::int2, true)")
            try await publish(test, 1...3)
            #expect(try await findings(outbox) == ["ok: 1 sinks, none is behind, nothing is set aside"])
            try await session.run("UPDATE tandem.outbox SET at = at - interval '1 hour'")

            let reasons = [
                "no relay has it: run `tandem outbox run`, or `tandem outbox remove` it", "1 of its 2 shares have no relay: see the log of x",
                "its relay's log says why",
            ]
            for (led, reason) in reasons.enumerated() {
                if led > 0 { try await session.run("SELECT tandem.outbox_claim('test', \(led - 1)::int2, 'x', '1 hour', 2::int2)") }
                let found = try await findings(outbox)
                #expect(found.count == 1 && found[0].hasPrefix("problem: the sink test is 36") && found[0].hasSuffix(" s behind; \(reason)"), "\(found)")
            }
            // One that begins now is not behind, and does not hide the other.
            try await session.run("SELECT tandem.outbox_add_sink('another', 1::int2, false)")
            #expect(try await findings(outbox).count == 1)
            try await outbox.remove(sink: "test")
            #expect(try await findings(outbox) == ["ok: 1 sinks, none is behind, nothing is set aside"])
            await session.close()
        }
    }

    @Test("the doctor finds events that wait and events that are given up, until somebody has decided")
    func setAside() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), outbox = Outbox(test.cluster, on: "n1")
            sink.state.withLock { $0.refuses = { ["1", "2"].contains(String(decoding: $0.payload, as: UTF8.self)) } }
            func found(_ waiting: Int, _ dead: Int) async throws -> Bool {
                try await findings(outbox)
                    == ["problem: \(waiting) events wait and \(dead) are given up at the sink test: `tandem outbox ls --node n1` lists them"]
            }
            try await publish(test, 1...3)
            try await withRelay(test, sink, .pause) {
                try await wait(for: "the attempts to be used up") { try await outbox.parked().count { $0.error != nil && $0.dueAt == nil } == 2 }
                #expect(try await found(3, 0), "two that are refused, and one behind them")
                try await test.value("n1", "UPDATE tandem.outbox_parked SET state = 'dead' WHERE convert_from(payload, 'UTF8') = '1'")
                try await wait(for: "the one behind it") { sink.texts == ["3"] }
                try await wait(for: "the other two") { try await found(1, 1) }
            }
            let ids = try await outbox.parked().map(\.id)
            let count = try await outbox.drop(sink: "test", ids: ids)
            #expect(count == 2)
            #expect(try await findings(outbox) == ["ok: 1 sinks, none is behind, nothing is set aside"])
        }
    }

    @Test("the doctor finds an outbox of another server, and says nothing else of it; of a node without one it says nothing")
    func restored() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let outbox = Outbox(test.cluster, on: "n1"), session = try await test.session("n1")
            try await session.run("SELECT tandem.outbox_add_sink('test', 1::int2, true)")
            try await publish(test, 1...3, ago: "1 hour")
            // As after a dump was restored; and as after a copy of the disk was, whose transaction ids begin anew from an earlier one.
            let steps = [
                (
                    "UPDATE tandem.outbox_settings SET system_identifier = 1",
                    "UPDATE tandem.outbox_settings s SET system_identifier = o.system_identifier FROM tandem.outbox_origin() o"
                ),
                ("UPDATE tandem.outbox_window SET upto = '9000000000:9000000000:'", "UPDATE tandem.outbox_window SET upto = since"),
            ]
            for (restore, mend) in steps {
                try await session.run(restore)
                #expect(try await findings(outbox) == ["problem: the outbox comes from another server, and its relays wait: see `tandem outbox rebase`"])
                try await session.run(mend)
                #expect(try await findings(outbox).map { $0.hasPrefix("problem: the sink test is 36") } == [true])
            }
            await session.close()
        }
        try await withCluster(1) { test in
            let found = try await findings(Outbox(test.cluster, on: "n1"))
            #expect(found.isEmpty)
        }
    }
}
