import TandemCluster
import TandemCore
import TandemMessaging
import TandemOutbox
import TandemPostgres
import TandemTestSupport
import TandemTransactions
import Testing

@Suite("Events that a sink has refused stand in nobody's way, and neither do large ones")
struct RefusedEventTests {
    private func publish(_ test: TestCluster, _ key: String, _ numbers: ClosedRange<Int>) async throws {
        try await sql(
            try test.conninfo("n1"),
            "SELECT count(tandem.publish('t', '\(key)', i::text)) FROM generate_series(\(numbers.lowerBound), \(numbers.upperBound)) i")
    }

    @Test("many that waited behind one are sent in parts when it is tried again, in their order, and what is new has its turn in between")
    func inParts() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let refusing = RecordingSink(), sink = SlowSink(isHeld: true), outbox = Outbox(test.cluster, on: "n1")
            refusing.state.withLock { $0.refuses = { $0.payload == Array("1".utf8) } }
            try await relaying(test.cluster, to: refusing, { $0.attempts = 1 }) {
                try await publish(test, "hot", 1...3000)
                try await wait(for: "all that waits, and the note of it") { try await outbox.lag().map { [$0.parked, $0.events] } == [[3000, 0]] }
            }
            _ = try await outbox.retry(sink: "test")
            try await relaying(test.cluster, to: sink) {
                try await wait(for: "the first of them") { sink.attempts.count == 1 }
                try await publish(test, "other", 0...0)
                sink.state.withLock { $0.isHeld = false }
                try await wait(for: "all") { sink.delivered.count == 3001 }
                try await wait(for: "the note of it") { try await outbox.parked().isEmpty }
            }
            let place = try #require(sink.texts.firstIndex(of: "0"))
            #expect(place < 2000, "it was sent behind \(place)")
            #expect(sink.texts.filter { $0 != "0" } == (1...3000).map(String.init))
        }
    }

    /// Refuses one payload, and takes what is behind it, as a sink may that has several under way.
    private struct HastySink: Sink {
        let refused: [UInt8]
        let batches = Locked<[[Delivery]]>([])

        func deliver(_ batch: [Delivery]) async throws -> [DeliveryVerdict] {
            batches.withLock { $0.append(batch) }
            return batch.map { $0.event.payload == refused ? .refused(TandemError(.eventRefused, "no", nextStep: "")) : .delivered }
        }

        func close() async {}
    }

    @Test("one that is tried again goes alone: those behind it wait, even where the sink would take them")
    func alone() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = HastySink(refused: Array("1".utf8)), outbox = Outbox(test.cluster, on: "n1")
            // The others are there before the second attempt.
            try await relaying(test.cluster, to: sink, { ($0.attempts, $0.wait, $0.longestWait) = (4, .milliseconds(500), .seconds(1)) }) {
                try await publish(test, "k", 1...1)
                try await wait(for: "its refusal") { try await outbox.parked().count == 1 }
                try await publish(test, "k", 2...5)
                try await wait(for: "the attempts to be used up") { try await outbox.parked().first?.dueAt == nil }
                try await wait(for: "those that wait behind it") { try await outbox.parked().count == 5 }
            }
            #expect(sink.batches.withLock { $0.map(\.count) } == [1, 1, 1, 1])
        }
    }

    @Test("where one attempt is all there is, those behind a dead letter still come before what is published later")
    func behindDead() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink()
            sink.state.withLock { $0.refuses = { $0.payload == Array("1".utf8) } }
            // A part of a window is two events; the third one is in the next part.
            try await publish(test, "k", 1...9)
            try await relaying(
                test.cluster, to: sink,
                {
                    ($0.attempts, $0.refusal) = (1, .dead)
                    $0.batch = 2
                }
            ) {
                try await wait(for: "all but one") { sink.events.count == 8 }
            }
            #expect(sink.texts == (2...9).map(String.init))
        }
    }

    /// Refuses everything for a reason that no text of PostgreSQL holds; while it is held, when the test lets it.
    private struct RefusingSink: Sink {
        let isHeld = Locked(false)
        let tries = Locked(0)

        func deliver(_ batch: [Delivery]) async throws -> [DeliveryVerdict] {
            tries.withLock { $0 += 1 }
            while isHeld.withLock({ $0 }) {
                try Task.checkCancellation()
                await tick()
            }
            return batch.map { _ in .refused(TandemError(.eventRefused, "no \0 here", nextStep: "")) }
        }

        func close() async {}
    }

    @Test("whatever the text of a refusal is, it is noted, and an operator who asks for all attempts anew while one is under way gets them")
    func askedMeanwhile() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RefusingSink(), outbox = Outbox(test.cluster, on: "n1")
            try await publish(test, "k", 1...1)
            try await relaying(test.cluster, to: sink, { ($0.attempts, $0.wait, $0.longestWait) = (3, .milliseconds(5), .milliseconds(10)) }) {
                try await wait(for: "its first attempts") {
                    let event = try await outbox.parked().first
                    return event?.attempts == 3 && event?.dueAt == nil
                }
                #expect(try await outbox.parked()[0].error == "eventRefused: no \u{FFFD} here")
                // The last one of three is under way.
                let before = sink.tries.withLock { $0 }
                sink.isHeld.withLock { $0 = true }
                try await sql(try test.superuser("n1"), "UPDATE tandem.outbox_parked SET attempts = 2, due_at = clock_timestamp()")
                try await wait(for: "an attempt") { sink.tries.withLock { $0 } > before }
                _ = try await outbox.retry(sink: "test")
                sink.isHeld.withLock { $0 = false }
                try await wait(for: "all attempts") {
                    let event = try await outbox.parked().first
                    return event?.attempts == 3 && event?.dueAt == nil
                }
                #expect(sink.tries.withLock { $0 } == before + 3)
            }
        }
    }

    @Test("large events are read in parts, those with large headers too, and again in parts when a sink has refused all of them")
    func large() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), outbox = Outbox(test.cluster, on: "n1"), limit = 4 << 20
            sink.state.withLock { $0.refuses = { $0.topic == "large" } }
            try await test.value("n1", "UPDATE tandem.outbox_settings SET payload_limit = \(limit)")
            let session = try await test.session("n1")
            try await session.run(
                """
                SELECT count(tandem.publish_bytes('large', 'k' || i, convert_to(repeat('x', CASE WHEN i % 5 = 0 THEN \(limit) ELSE 1000000 END), 'UTF8')))
                FROM generate_series(1, 30) i
                """)
            try await session.run(
                """
                SELECT count(tandem.publish('headers', 'k', i::text, json_build_object('h', repeat('y', 64000)))) FROM generate_series(1, 400) i
                """)
            try await relaying(test.cluster, to: sink, { $0.attempts = 1 }) {
                try await wait(for: "those that are set aside", within: .seconds(90)) { try await outbox.lag().first?.parked == 30 }
                try await wait(for: "those with large headers", within: .seconds(90)) { sink.events.count == 400 }
                #expect(sink.texts == (1...400).map(String.init))
                sink.state.withLock {
                    $0.deliveries = []
                    $0.refuses = { _ in false }
                }
                _ = try await outbox.retry(sink: "test")
                try await wait(for: "the large ones", within: .seconds(90)) { sink.events.count == 30 }
            }
            #expect(sink.events.map(\.key) == (1...30).map { "k\($0)" })
            #expect(sink.events.allSatisfy { $0.payload.count >= 1_000_000 })
            let beyond = await #expect(throws: ServerError.self) {
                try await session.run("UPDATE tandem.outbox_settings SET payload_limit = \(limit + 1)")
            }
            #expect(beyond?.sqlState == .checkViolation)
            await session.close()
        }
    }

    @Test("more keys than fit into one answer may wait")
    func manyKeys() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), outbox = Outbox(test.cluster, on: "n1"), number = 5001
            sink.state.withLock { $0.refuses = { _ in true } }
            try await sql(
                try test.conninfo("n1"), "SELECT count(tandem.publish('t', nullif('k' || i, 'k7'), i::text)) FROM generate_series(1, 10) i")
            try await relaying(test.cluster, to: sink, { $0.attempts = 1 }) {
                try await wait(for: "those that are set aside, and the note of it") { try await outbox.lag().map { [$0.parked, $0.events] } == [[10, 0]] }
            }
            // As if many more had been refused.
            try await sql(
                try test.superuser("n1"),
                """
                INSERT INTO tandem.outbox_parked (sink, seq, share, number, state, attempts, due_at, at, id, topic, key, content_type, payload)
                SELECT p.sink, -i, p.share, p.number, p.state, p.attempts, p.due_at, p.at, gen_random_uuid(), p.topic, 'more ' || i, p.content_type, p.payload
                FROM tandem.outbox_parked p, generate_series(1, \(number)) i WHERE p.key = 'k1'
                """)
            sink.state.withLock { $0.refuses = { _ in false } }
            try await relaying(test.cluster, to: sink) {
                // Of the last ones of both pages.
                for key in ["k9", "more 999"] { try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', '\(key)', '\(number)')") }
                try await wait(for: "what waits behind them") { try await outbox.lag().first?.parked == number + 12 }
                #expect(sink.events.isEmpty)
                _ = try await outbox.retry(sink: "test")
                try await wait(for: "all", within: .seconds(90)) { sink.events.count == number + 12 }
            }
            #expect(sink.texts.suffix(2) == ["\(number)", "\(number)"])
        }
    }
}
