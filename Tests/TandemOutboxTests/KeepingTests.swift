import Foundation
import TandemCluster
import TandemCore
import TandemMessaging
import TandemOutbox
import TandemPostgres
import TandemTestSupport
import TandemTransactions
import Testing

/// A sink that answers as many batches as it may, and keeps the next one until it may or the relay ends.
private final class SteppingSink: Sink {
    struct State: Sendable {
        var allowed = 0
        var handed = 0
        var deliveries: [Delivery] = []
    }

    let state = Locked(State())

    /// How many batches were handed to it, answered or not.
    var handed: Int { state.withLock { $0.handed } }
    var deliveries: [Delivery] { state.withLock { $0.deliveries } }

    func allow(_ batches: Int) { state.withLock { $0.allowed = batches } }

    func deliver(_ batch: [Delivery]) async throws -> [DeliveryVerdict] {
        let turn = state.withLock { state in
            state.handed += 1
            return state.handed
        }
        while state.withLock({ $0.allowed < turn }) {
            try Task.checkCancellation()
            await tick()
        }
        state.withLock { $0.deliveries += batch }
        return [DeliveryVerdict](repeating: .delivered, count: batch.count)
    }

    func close() async {}
}

@Suite("An outbox keeps where its sinks stand, and events for later")
struct KeepingTests {
    /// Runs a relay to a sink in memory while the body runs.
    private func withRelay(
        _ test: TestCluster, _ sink: any Sink, _ change: (inout RelayOptions) -> Void = { _ in }, _ body: () async throws -> Void
    ) async throws {
        try await relaying(test.cluster, to: sink, change, body)
    }

    private func publish(_ test: TestCluster, _ key: String, _ numbers: ClosedRange<Int>) async throws {
        try await sql(
            try test.conninfo("n1"),
            "SELECT count(tandem.publish('t', '\(key)', i::text)) FROM generate_series(\(numbers.lowerBound), \(numbers.upperBound)) i")
    }

    private func texts(_ deliveries: [Delivery]) -> [String] { deliveries.map { String(decoding: $0.event.payload, as: UTF8.self) } }

    // MARK: The journal

    /// How large the journal is, in bytes. From 4 MiB on it is trimmed.
    private func size(_ test: TestCluster) async throws -> Int {
        Int(try await test.value("n1", "SELECT pg_relation_size('tandem.outbox_window') + pg_relation_size('tandem.outbox_ack')") ?? "") ?? -1
    }

    /// Where all shares of all sinks stand.
    private func positions(_ test: TestCluster) async throws -> String? {
        try await test.value(
            "n1",
            """
            SELECT string_agg(concat_ws(' ', s.sink, s.share, p), '; ' ORDER BY s.sink, s.share)
            FROM tandem.outbox_sink s, LATERAL tandem.outbox_position(s.sink, s.share) p
            """)
    }

    /// As if each share had had many windows before those that are there, all confirmed, with many transactions that were late.
    private func grow(_ test: TestCluster) async throws {
        try await test.value(
            "n1",
            """
            WITH first AS (SELECT DISTINCT ON (sink, share) * FROM tandem.outbox_window ORDER BY sink, share, number), past AS (
                INSERT INTO tandem.outbox_window (sink, share, shares, number, epoch, since, since_seq, upto, upto_seq, last_seq, late, at)
                -- Snapshots of a busy server may be long, and all of a long row is compressed.
                SELECT f.sink, f.share, f.shares, f.number - i, f.epoch, '3:3:', f.since_seq, '3:3:', f.since_seq, f.last_seq,
                    ARRAY(SELECT x::text::xid8 FROM generate_series(1, 200) x), f.at - interval '1 day'
                FROM first f, generate_series(1, 3000 / (SELECT count(*)::integer FROM first)) i
                RETURNING *)
            INSERT INTO tandem.outbox_ack (sink, share, number, seq)
            SELECT p.sink, p.share, p.number, a.seq FROM past p, unnest(ARRAY[0, p.last_seq]) a (seq) ON CONFLICT DO NOTHING
            """)
        #expect(try await size(test) > 4 << 20)
    }

    /// Keeps house until the journal is small.
    private func trim(_ test: TestCluster) async throws {
        let outbox = Outbox(test.cluster, on: "n1")
        try await wait(for: "a small journal") {
            _ = try await outbox.keepHouse()
            return try await size(test) < 1 << 20
        }
    }

    @Test("a journal of more than 4 MiB is trimmed to where each share stands, and no position moves; a smaller one is left, and one that somebody reads")
    func trimmed() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let session = try await test.session("n1"), reader = try await test.session("n1")
            func open(_ sink: String, _ share: Int) async throws {
                let position = "tandem.outbox_position('\(sink)', \(share)::int2) p"
                let outcome = try await session.value(
                    "SELECT o.outcome FROM \(position), LATERAL tandem.outbox_open('\(sink)', \(share)::int2, 1, p.number) o")
                #expect(outcome == "opened")
            }
            /// Confirms the window but for its last numbers.
            func confirm(_ sink: String, _ share: Int, butFor rest: Int) async throws {
                let position = "tandem.outbox_position('\(sink)', \(share)::int2) p"
                let isTaken = try await session.value(
                    "SELECT tandem.outbox_acknowledge('\(sink)', \(share)::int2, 1, p.number, p.last_seq - \(rest)) FROM \(position)")
                #expect(isTaken == "t")
            }
            func trim() async throws -> String? { try await session.value("SELECT tandem.outbox_trim()") }

            for (sink, shares) in [("one", 1), ("three", 3), ("idle", 1)] {
                try await session.run("SELECT tandem.outbox_add_sink('\(sink)', \(shares)::int2, true)")
            }
            for (sink, share, shares) in [("one", 0, 1), ("three", 0, 3), ("three", 1, 3)] {
                try await session.run("SELECT tandem.outbox_claim('\(sink)', \(share)::int2, 'x', '1 hour', \(shares)::int2)")
            }
            try await publish(test, "k", 1...10)
            // A window and a part of the next one; one that is not begun; a whole one; and two shares that have had nothing.
            try await open("one", 0)
            try await confirm("one", 0, butFor: 0)
            try await open("three", 1)
            try await open("three", 0)
            for rest in [5, 0] { try await confirm("three", 0, butFor: rest) }
            try await publish(test, "k", 11...20)
            try await open("one", 0)
            for rest in [9, 7] { try await confirm("one", 0, butFor: rest) }

            let before = try await positions(test), windows = try await test.count("n1", "tandem.outbox_window")
            #expect(windows == 9)
            #expect(try await trim() == "t")
            #expect(try await test.count("n1", "tandem.outbox_window") == windows, "small tables are no burden")

            try await grow(test)
            #expect(try await positions(test) == before, "what is added is of the past")
            try await reader.run("BEGIN")
            try await reader.run("LOCK TABLE tandem.outbox_ack IN ACCESS SHARE MODE")
            #expect(try await trim() == "f")
            #expect(try await positions(test) == before)
            #expect(try await size(test) > 4 << 20)
            try await reader.run("ROLLBACK")

            #expect(try await trim() == "t")
            #expect(try await positions(test) == before)
            #expect(try await size(test) < 1 << 20)
            #expect(try await test.count("n1", "tandem.outbox_window") == 5)
            // Nothing of the window that is not begun.
            #expect(try await test.count("n1", "tandem.outbox_ack") == 4)
            let rest = "tandem.outbox_position('one', 0::int2) p, tandem.outbox_read('one', 0::int2, p.number, p.acked, 100, 1000000) e"
            #expect(try await session.value("SELECT string_agg(convert_from(e.payload, 'UTF8'), ',') FROM \(rest)") == "14,15,16,17,18,19,20")
            for session in [session, reader] { await session.close() }
        }
    }

    @Test("it is not trimmed in a transaction that sees an older state, or has written something")
    func refused() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let session = try await test.session("n1")
            for begin in ["BEGIN ISOLATION LEVEL REPEATABLE READ", "BEGIN"] {
                try await session.run(begin)
                if begin == "BEGIN" { try await session.run("SELECT pg_current_xact_id()") }
                let error = await #expect(throws: ServerError.self) { try await session.run("SELECT tandem.outbox_trim()") }
                #expect(error?.sqlState == .activeTransaction)
                try await session.run("ROLLBACK")
            }
            await session.close()
        }
    }

    @Test(
        "a relay amid a window goes on behind its last note when the journal is trimmed, and so does its successor: each event once, at rising places",
        arguments: [false, true])
    func midway(_ isSucceeded: Bool) async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = SteppingSink()
            func goOn() async throws {
                sink.allow(.max)
                try await wait(for: "the rest of the window") { sink.deliveries.count == 10 }
                try await publish(test, "k", 11...14)
                try await wait(for: "what is new") { sink.deliveries.count == 14 }
            }
            try await publish(test, "k", 1...10)
            sink.allow(1)
            try await withRelay(test, sink, { $0.batch = 3 }) {
                // What was answered is noted before the next one is handed over.
                try await wait(for: "the second batch") { sink.handed == 2 }
                let before = try await positions(test)
                try await grow(test)
                try await trim(test)
                #expect(try await positions(test) == before)
                #expect(try await test.count("n1", "tandem.outbox_window") == 1)
                if !isSucceeded { try await goOn() }
            }
            if isSucceeded {
                #expect(sink.deliveries.count == 3)
                try await withRelay(test, sink, { $0.batch = 3 }, goOn)
            }
            let deliveries = sink.deliveries, places = deliveries.map(\.place)
            #expect(texts(deliveries) == (1...14).map(String.init))
            #expect(places == places.sorted() && Set(places).count == 14)
            #expect(Set(places.prefix(10).map(\.window)).count == 1)
        }
    }

    @Test("while a relay is at work the journal is trimmed again and again, and each event comes once, at a place behind the one before")
    func atWork() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), session = try await test.session("n1"), rounds = 5, each = 30
            try await withRelay(test, sink, { $0.batch = 2 }) {
                try await wait(for: "the sink to be known") { try await test.count("n1", "tandem.outbox_sink") == 1 }
                for round in 0..<rounds {
                    try await grow(test)
                    async let trimming: Void = trim(test)
                    for number in 1...each { try await session.run("SELECT tandem.publish('t', 'k', '\(round * each + number)')") }
                    try await trimming
                }
                try await wait(for: "all") { sink.events.count >= rounds * each }
                try await wait(for: "no lag") { try await Outbox(test.cluster, on: "n1").lag().map(\.events) == [0] }
            }
            #expect(sink.texts == (1...rounds * each).map(String.init))
            let places = sink.state.withLock { $0.deliveries.map(\.place) }
            #expect(places == places.sorted() && Set(places).count == rounds * each)
            await session.close()
        }
    }

    @Test("events that were set aside are still tried again when their windows are trimmed away, at their places and in the order of their key")
    func parked() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), outbox = Outbox(test.cluster, on: "n1")
            sink.state.withLock { $0.refuses = { $0.payload == Array("1".utf8) } }
            try await publish(test, "stuck", 1...2)
            try await publish(test, "free", 3...3)
            try await withRelay(test, sink, { $0.attempts = 2 }) {
                try await wait(for: "those that are set aside") {
                    let parked = try await outbox.parked()
                    return parked.count == 2 && parked[0].dueAt == nil && sink.texts == ["3"]
                }
                let places = "SELECT string_agg(number || ' ' || seq, ',' ORDER BY seq) FROM tandem.outbox_parked", before = try await test.value("n1", places)
                // In windows of their own.
                try await publish(test, "free", 4...4)
                try await wait(for: "the next one") { sink.texts == ["3", "4"] }
                try await publish(test, "stuck", 5...5)
                try await wait(for: "the one that waits behind") { try await outbox.parked().count == 3 }
                try await publish(test, "free", 6...6)
                try await wait(for: "the last one") { sink.texts == ["3", "4", "6"] }
                try await grow(test)
                try await trim(test)
                #expect(try await test.count("n1", "tandem.outbox_window WHERE number IN (SELECT number FROM tandem.outbox_parked)") == 0)
                #expect(try await test.value("n1", places)?.hasPrefix((before ?? "") + ",") == true)

                let all = try await test.value("n1", places)
                sink.state.withLock { $0.refuses = { _ in false } }
                let count = try await outbox.retry(sink: "test")
                #expect(count == 3)
                try await wait(for: "the key") { sink.texts == ["3", "4", "6", "1", "2", "5"] }
                let delivered = sink.state.withLock { $0.deliveries.suffix(3).map { "\($0.place.window) \($0.place.sequence)" } }
                #expect(delivered.joined(separator: ",") == all)
                try await wait(for: "nothing that is set aside") { try await outbox.parked().isEmpty }
            }
        }
    }

    // MARK: Events for later

    /// Makes all events that are for later, and that the session sees, due: the longest due is the one of the earliest time.
    private func makeDue(_ session: RawSession) async throws { try await session.run("UPDATE tandem.outbox_delayed SET due_at = due_at - interval '1 day'") }

    private func publishLater(_ number: Int, after time: String = "1 hour", by session: RawSession) async throws {
        try await session.run("SELECT tandem.publish('later', 'k', '\(number)', not_before => clock_timestamp() + interval '\(time)')")
    }

    private func publishDue(_ most: Int = 1000, by session: RawSession) async throws -> String? {
        try await session.value("SELECT tandem.outbox_publish_due(\(most))")
    }

    @Test("an event for later is not seen before it is due; then it comes behind what was published meanwhile, with all that was given to it")
    func later() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), outbox = Outbox(test.cluster, on: "n1"), session = try await test.session("n1")
            try await withRelay(test, sink) {
                let id = try await session.value(
                    "SELECT tandem.publish('later', 'k', '{\"a\": 1}', '{\"h\": \"x\"}', not_before => clock_timestamp() + interval '1 hour')")
                for number in 1...2 {
                    _ = try await outbox.keepHouse()
                    #expect(try await publishDue(by: session) == "0")
                    try await publish(test, "k", number...number)
                    try await wait(for: "the one that is for now") { sink.events.count == number }
                }
                #expect(sink.texts == ["1", "2"])
                #expect(try await test.count("n1", "tandem.outbox_delayed") == 1)

                try await makeDue(session)
                _ = try await outbox.keepHouse()
                try await wait(for: "the one that is due") { sink.events.count == 3 }
                let event = sink.events[2], places = sink.state.withLock { $0.deliveries.map(\.place) }
                #expect(event.id == id && event.topic == "later" && event.key == "k" && event.headers == [.init("h", "x")] && sink.texts[2] == #"{"a": 1}"#)
                #expect(event.contentType == "application/json" && places == places.sorted())
                #expect(try await publishDue(by: session) == "0")
                #expect(try await test.count("n1", "tandem.outbox_delayed") == 0)

                // Of a time that is over.
                try await publishLater(4, after: "-1 second", by: session)
                try await wait(for: "one that is due at once") { sink.texts.last == "4" }
            }
            await session.close()
        }
    }

    @Test("what is due is published in the order of its times, so many at a time; two who do it publish others, none waits, and what is rolled back stays")
    func due() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let one = try await test.session("n1"), other = try await test.session("n1")
            for hour in (1...5).reversed() { try await publishLater(hour, after: "\(hour) hours", by: one) }
            try await makeDue(one)
            try await one.run("BEGIN")
            #expect(try await publishDue(2, by: one) == "2")
            #expect(try await publishDue(10, by: other) == "3")
            try await one.run("ROLLBACK")
            var counts: [String?] = []
            for most in [1, 10, 10] { counts.append(try await publishDue(most, by: other)) }
            #expect(counts == ["1", "1", "0"])
            let order = "SELECT string_agg(convert_from(payload, 'UTF8'), ',' ORDER BY seq) FROM tandem.outbox"
            #expect(try await test.value("n1", order) == "3,4,5,1,2")
            // A look that finds nothing is no transaction that everybody's snapshots have to list.
            try await one.run("BEGIN")
            #expect(try await publishDue(by: one) == "0")
            #expect(try await one.value("SELECT pg_current_xact_id_if_assigned()") == nil)
            try await one.run("COMMIT")
            for session in [one, other] { await session.close() }
        }
    }

    @Test("large ones are published in parts, one that is larger than a part alone, and housekeeping goes on until none is due")
    func largeLater() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let session = try await test.session("n1"), outbox = Outbox(test.cluster, on: "n1")
            try await sql(try test.superuser("n1"), "UPDATE tandem.outbox_settings SET payload_limit = 4194304")
            let large =
                "SELECT tandem.publish_bytes('later', 'k', convert_to(repeat('x', 3000000), 'UTF8'), not_before => clock_timestamp() + interval '1 hour')"
            for _ in 1...7 { try await session.run(large) }
            try await makeDue(session)
            for expected in ["5", "2", "0"] { #expect(try await publishDue(by: session) == expected) }
            for _ in 1...7 { try await session.run(large) }
            try await makeDue(session)
            _ = try await outbox.keepHouse()
            #expect(try await test.count("n1", "tandem.outbox_delayed") == 0)
            await session.close()
        }
    }

    @Test("no more are published at a time than are wanted, whatever the statistics say of a table that is nearly always empty")
    func most() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let session = try await test.session("n1")
            try await publishLater(1, by: session)
            // Of one row; then the planner would look for the next ones anew for each row, if it could.
            try await session.run("ANALYZE tandem.outbox_delayed")
            for number in 2...20 { try await publishLater(number, by: session) }
            try await makeDue(session)
            #expect(try await publishDue(2, by: session) == "2")
            #expect(try await test.count("n1", "tandem.outbox_delayed") == 18)
            await session.close()
        }
    }

    @Test(
        "an event for later of a prepared transaction leaves when that is committed, and never if it is rolled back; one may also let others' events leave",
        arguments: ["COMMIT", "ROLLBACK"])
    func prepared(_ end: String) async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), outbox = Outbox(test.cluster, on: "n1"), session = try await test.session("n1"), other = try await test.session("n1")
            let gid = "\(test.database) later", isCommitted = end == "COMMIT"
            try await withRelay(test, sink) {
                try await session.run("BEGIN")
                try await publishLater(1, by: session)
                try await makeDue(session)
                try await session.run("PREPARE TRANSACTION '\(gid)'")
                _ = try await outbox.keepHouse()
                #expect(try await publishDue(by: other) == "0", "nobody sees it")
                try await publish(test, "k", 2...2)
                try await wait(for: "the one that is for now") { sink.texts == ["2"] }
                try await session.run("\(end) PREPARED '\(gid)'")
                #expect(try await publishDue(by: other) == (isCommitted ? "1" : "0"))
                if isCommitted { try await wait(for: "it") { sink.texts == ["2", "1"] } }

                try await publishLater(3, by: session)
                try await makeDue(session)
                try await session.run("BEGIN")
                #expect(try await publishDue(by: session) == "1")
                try await session.run("PREPARE TRANSACTION '\(gid)'")
                #expect(try await publishDue(by: other) == "0", "somebody else does it")
                try await publish(test, "k", 4...4)
                try await wait(for: "another one that is for now") { sink.texts.last == "4" }
                #expect(!sink.texts.contains("3"))
                try await session.run("\(end) PREPARED '\(gid)'")
                #expect(try await publishDue(by: other) == (isCommitted ? "0" : "1"))
                try await wait(for: "it, once") { sink.texts == (isCommitted ? ["2", "1", "4", "3"] : ["2", "4", "3"]) }
                #expect(try await test.count("n1", "tandem.outbox_delayed") == 0)
            }
            for session in [session, other] { await session.close() }
        }
    }

    @Test("of a transaction over two nodes, an event for later is there if it commits, and not if it is rolled back; one that is too large is refused at once")
    func transactions() async throws {
        try await withCluster(2, modules: [.outbox]) { test in
            let sink = RecordingSink(), hour = Date(timeIntervalSinceNow: 3600)
            struct No: Error {}
            await #expect(throws: No.self) {
                try await test.cluster.transaction { tx in
                    try await tx["n1"].publish(topic: "later", key: "k", payload: 1, notBefore: hour)
                    try await tx["n2"].execute("UPDATE account SET balance = balance - 1 WHERE id = 1")
                    throw No()
                }
            }
            #expect(try await test.count("n1", "tandem.outbox_delayed") == 0)
            let receipt = try await test.cluster.transaction { tx in
                try await tx["n2"].execute("UPDATE account SET balance = balance - 1 WHERE id = 1")
                return try await tx["n1"].publish(topic: "later", key: "k", payload: 2, notBefore: hour)
            }
            try await wait(for: "its row") { try await test.count("n1", "tandem.outbox_delayed") == 1 }
            let away = "SELECT (due_at - clock_timestamp()) BETWEEN interval '30 minutes' AND interval '1 hour' FROM tandem.outbox_delayed"
            #expect(try await test.value("n1", away) == "t")
            let session = try await test.session("n1")
            try await makeDue(session)
            try await withRelay(test, sink) {
                _ = try await Outbox(test.cluster, on: "n1").keepHouse()
                try await wait(for: "it") { sink.events.map(\.id) == [receipt.value.uuidString.lowercased()] }
            }
            let error = await refusal {
                try await test.cluster["n1"].transaction {
                    try await $0.publish(topic: "later", key: nil, bytes: [UInt8](repeating: 0, count: 1_048_577), contentType: "image/png", notBefore: hour)
                }
            }
            #expect(error?.code == .eventTooLarge && error?.effect == .rolledBack)
            #expect(try await test.count("n1", "tandem.outbox_delayed") == 0)
            await session.close()
        }
    }
}
