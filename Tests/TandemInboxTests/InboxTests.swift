import Foundation
import TandemCluster
import TandemCore
import TandemInbox
import TandemMessaging
import TandemOutbox
import TandemPostgres
import TandemTestSupport
import TandemTransactions
import Testing

@Suite("Messages take effect once")
struct InboxTests {
    private func withNodes<Value>(_ body: (TestCluster) async throws -> Value) async throws -> Value {
        try await withCluster(2, modules: [.outbox, .inbox]) { test in
            try await sql(
                try test.superuser("n2"), "CREATE TABLE handled (place serial, key text, body text)", "GRANT ALL ON handled, handled_place_seq TO tandem")
            return try await body(test)
        }
    }

    private func relay(_ test: TestCluster, _ cluster: Cluster? = nil, _ change: (inout RelayOptions) -> Void = { _ in }) throws -> OutboxRelay {
        var options = RelayOptions()
        options.poll = .milliseconds(20)
        options.isFromStart = true
        options.lease = .seconds(60)
        change(&options)
        let cluster = cluster ?? test.cluster
        return try OutboxRelay(cluster, from: "n1", to: "copies", InboxSink(cluster, on: "n2", queue: "orders"), options: options)
    }

    private func consumer(_ test: TestCluster, fails: @escaping @Sendable (String) -> Bool = { _ in false }) -> InboxConsumer {
        var options = InboxConsumer.Options()
        options.poll = .milliseconds(20)
        options.wait = .milliseconds(5)
        options.attempts = 3
        return InboxConsumer(test.cluster, on: "n2", queue: "orders", options: options) { message, branch in
            let body = String(decoding: message.event.payload, as: UTF8.self)
            try await branch.execute("INSERT INTO handled (key, body) VALUES (\(message.event.key), \(body))")
            if fails(body) { throw TestFailure("poisoned") }
        }
    }

    private func handled(_ test: TestCluster) async throws -> String {
        try await test.value("n2", "SELECT coalesce(string_agg(body, ',' ORDER BY place), '') FROM handled") ?? ""
    }

    @Test("from the transaction on one node to the effect on another, once, whichever relays and consumers come and go")
    func exactlyOnce() async throws {
        try await withNodes { test in
            let another = try test.another()
            defer { another.close() }
            let relays = [try relay(test) { $0.lease = .seconds(2) }, try relay(test, another) { $0.lease = .seconds(2) }]
            let consumers = [consumer(test), consumer(test)]
            try await running({ try await relays[0].run() }) {
                try await running({ try await consumers[0].run() }) {
                    for round in 0..<5 {
                        try await running({ try await relays[1].run() }) {
                            try await running({ try await consumers[1].run() }) {
                                for number in 1...40 {
                                    let value = round * 40 + number
                                    try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k\(value % 3)', '\(value)')")
                                }
                            }
                        }
                    }
                    try await wait(for: "all") { try await test.count("n2", "handled") >= 200 }
                }
            }
            #expect(try await handled(test) == (1...200).map(String.init).joined(separator: ","))
            #expect(try await test.count("n2", "tandem.inbox_queue") == 0)
        }
    }

    @Test("events that are sent a second time are there once, and a replay brings them again")
    func repeated() async throws {
        try await withNodes { test in
            let sink = InboxSink(test.cluster, on: "n2", queue: "orders")
            func delivery(_ window: Int64, _ sequence: Int64) -> Delivery {
                let event = Event(
                    id: "0198c0de-0000-7000-8000-00000000000\(sequence)", topic: "t", key: "k", headers: [.init("a", "b")], payload: Array("\(sequence)".utf8),
                    time: "2026-01-01T00:00:00Z")
                return Delivery(event, from: "/test/n1", to: "copies", at: .init(window: window, sequence: sequence))
            }
            _ = try await sink.deliver([delivery(1, 1), delivery(1, 2)])
            _ = try await sink.deliver([delivery(1, 1), delivery(1, 2), delivery(1, 3)])
            _ = try await sink.deliver([delivery(1, 2)])
            let places = "SELECT string_agg(convert_from(payload, 'UTF8'), ',' ORDER BY place) FROM tandem.inbox_queue"
            #expect(try await test.value("n2", places) == "1,2,3")
            _ = try await sink.deliver([delivery(2, 1)])
            #expect(try await test.value("n2", places) == "1,2,3,1")
            #expect(
                try await test.value("n2", "SELECT headers::text || published_at::text FROM tandem.inbox_queue LIMIT 1")?.hasPrefix(#"{"a":"b"}2026"#) == true)
        }
    }

    @Test("a poisoned message leaves nothing, is given up after its attempts, and its key waits until then; it can be handled again")
    func poisoned() async throws {
        try await withNodes { test in
            let isMended = Locked(false), inbox = Inbox(test.cluster, on: "n2")
            for number in 1...6 { try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', '\(number % 2 == 0 ? "even" : "odd")', '\(number)')") }
            let relay = try relay(test), consumer = consumer(test) { $0 == "3" && !isMended.withLock { $0 } }
            try await running({ try await relay.run() }) {
                try await running({ try await consumer.run() }) {
                    try await wait(for: "all but one") { try await test.count("n2", "handled") == 5 }
                    let dead = try await inbox.dead()
                    #expect(dead.count == 1 && dead[0].reason == "failed" && dead[0].attempts == 3 && dead[0].error == "poisoned" && dead[0].key == "odd")
                    let order = try await handled(test).split(separator: ",").map { Int($0) ?? 0 }
                    #expect(order.filter { $0 % 2 == 1 } == [1, 5] && order.filter { $0 % 2 == 0 } == [2, 4, 6])
                    isMended.withLock { $0 = true }
                    let count = try await inbox.retry(consumer: "orders", ids: [dead[0].id])
                    #expect(count == 1)
                    try await wait(for: "the last one") { try await handled(test).hasSuffix(",3") }
                    let left = try await inbox.dead()
                    #expect(left.isEmpty)
                }
            }
        }
    }

    @Test("two sinks fill one queue, and neither takes the other's events for its own")
    func twoSinks() async throws {
        try await withNodes { test in
            func relay(_ name: String, _ topic: String) throws -> OutboxRelay {
                var options = RelayOptions()
                (options.poll, options.isFromStart, options.topics) = (.milliseconds(20), true, [topic])
                return try OutboxRelay(test.cluster, from: "n1", to: name, InboxSink(test.cluster, on: "n2", queue: "orders"), options: options)
            }
            let one = try relay("one", "a"), other = try relay("other", "b")
            try await running({ try await one.run() }) {
                for _ in 0..<3 { try await sql(try test.conninfo("n1"), "SELECT tandem.publish('a', 'k', '1')") }
                try await wait(for: "the first sink's") { try await test.count("n2", "tandem.inbox_queue") == 3 }
                try await running({ try await other.run() }) {
                    for topic in ["b", "a", "b", "a"] { try await sql(try test.conninfo("n1"), "SELECT tandem.publish('\(topic)', 'k', '2')") }
                    try await wait(for: "all") { try await test.count("n2", "tandem.inbox_queue") == 7 }
                }
            }
        }
    }

    @Test("a message that was given up and handled again is given up again")
    func deadAgain() async throws {
        try await withNodes { test in
            let inbox = Inbox(test.cluster, on: "n2"), relay = try relay(test), consumer = consumer(test) { _ in true }
            try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k', '1')")
            try await running({ try await relay.run() }) {
                try await running({ try await consumer.run() }) {
                    for _ in 0..<2 {
                        try await wait(for: "the dead letter") { try await inbox.dead().count == 1 }
                        let dead = try await inbox.dead()[0]
                        let count = try await inbox.retry(consumer: "orders", ids: [dead.id])
                        #expect(count == 1 && dead.attempts == 3)
                    }
                    try await wait(for: "the dead letter again") { try await inbox.dead().count == 1 }
                    let count = try await inbox.drop(consumer: "orders", ids: [try await inbox.dead()[0].id])
                    #expect(count == 1)
                }
            }
            let left = try await test.count("n2", "handled") + test.count("n2", "tandem.inbox_queue")
            #expect(left == 0)
            try await inbox.forget()
        }
    }

    @Test("a handler's error that no text of PostgreSQL holds counts as any other, and what is behind the message comes")
    func unstorable() async throws {
        try await withNodes { test in
            let relay = try relay(test), inbox = Inbox(test.cluster, on: "n2")
            var options = InboxConsumer.Options()
            (options.poll, options.wait, options.attempts) = (.milliseconds(20), .milliseconds(5), 2)
            let consumer = InboxConsumer(test.cluster, on: "n2", queue: "orders", options: options) { message, branch in
                let body = String(decoding: message.event.payload, as: UTF8.self)
                if body == "1" { throw TestFailure("no customer a\0b") }
                try await branch.execute("INSERT INTO handled (key, body) VALUES (\(message.event.key), \(body))")
            }
            for number in 1...2 { try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k', '\(number)')") }
            try await running({ try await relay.run() }) {
                try await running({ try await consumer.run() }) { try await wait(for: "the one behind it") { try await handled(test) == "2" } }
            }
            #expect(try await inbox.dead().map(\.error) == ["no customer a\u{FFFD}b"])
        }
    }

    @Test("attempts of a message that came through in the end do not count when a replay brings it again")
    func attemptsAnew() async throws {
        try await withNodes { test in
            let sink = InboxSink(test.cluster, on: "n2", queue: "orders"), inbox = Inbox(test.cluster, on: "n2")
            let event = Event(
                id: "0198c0de-0000-7000-8000-000000000001", topic: "t", key: "k", headers: [], payload: Array("1".utf8), time: "2026-01-01T00:00:00Z")
            let failures = Locked(0)
            let consumer = consumer(test) { _ in
                failures.withLock { left in
                    left -= 1
                    return left >= 0
                }
            }
            // It may fail three times: two and two are none too many. The first failure of each round is that of a batch, which does not count.
            try await running({ try await consumer.run() }) {
                for round in 1...2 {
                    failures.withLock { $0 = 3 }
                    _ = try await sink.deliver([Delivery(event, from: "/test/n1", to: "copies", at: .init(window: Int64(round), sequence: 1))])
                    try await wait(for: "its effect") { try await test.count("n2", "handled") == round }
                }
            }
            #expect(try await inbox.dead().isEmpty)
        }
    }

    @Test("a queue may have a long name, also where ids are what is known of events")
    func longName() async throws {
        try await withNodes { test in
            let sink = InboxSink(test.cluster, on: "n2", queue: String(repeating: "q", count: 255))
            let event = Event(id: "00000000-0000-4000-8000-000000000001", topic: "t", key: "k", headers: [], payload: [], time: "2026-01-01T00:00:00Z")
            for sequence in 1...2 {
                _ = try await sink.deliver([
                    Delivery(event, from: "/test/n1", to: "copies", at: .init(window: 1, sequence: Int64(sequence)), isPlaceLasting: false)
                ])
            }
            #expect(try await test.count("n2", "tandem.inbox_queue") == 1)
        }
    }

    @Test("a message of a broker is received once by each consumer, and not where its transaction is rolled back")
    func received() async throws {
        try await withNodes { test in
            func receive(_ id: String, _ consumer: String) async throws -> Bool {
                try await test.cluster["n2"].transaction { try await $0.receive(id, by: consumer) }
            }
            struct No: Error {}
            let id = UUID().uuidString
            await #expect(throws: No.self) {
                try await test.cluster["n2"].transaction { branch in
                    let isNew = try await branch.receive(id, by: "a")
                    #expect(isNew)
                    throw No()
                }
            }
            var answers: [Bool] = []
            for (id, consumer) in [(id, "a"), (id, "a"), (id, "b"), ("invoice/7", "a"), ("invoice/7", "a")] { answers.append(try await receive(id, consumer)) }
            #expect(answers == [true, false, true, true, false])
            // From SQL, in any language.
            var texts: [String?] = []
            for _ in 0..<2 { texts.append(try await sql(try test.conninfo("n2"), "SELECT tandem.receive('c', '\(id)')")) }
            #expect(texts == ["t", "f"])
            // A UUIDv7 of 2020.
            let error = await refusal { try await receive("016f5e66-e800-7000-8000-000000000000", "a") }
            #expect(error?.code == .messageTooOld)
        }
    }

    @Test("a message that always takes too long is given up, and those beside it are handled")
    func slow() async throws {
        try await withNodes { test in
            for number in 1...3 { try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k\(number)', '\(number)')") }
            let relay = try relay(test)
            var options = InboxConsumer.Options()
            (options.poll, options.wait, options.attempts, options.timeout) = (.milliseconds(20), .milliseconds(5), 2, .seconds(8))
            let consumer = InboxConsumer(test.cluster, on: "n2", queue: "orders", options: options) { message, branch in
                let body = String(decoding: message.event.payload, as: UTF8.self)
                try await branch.execute("INSERT INTO handled (key, body) VALUES (\(message.event.key), \(body))")
                while body == "2" { _ = try await branch.query("SELECT 1", as: Int.self) }
            }
            try await running({ try await relay.run() }) {
                try await running({ try await consumer.run() }) {
                    try await wait(for: "a dead letter", within: .seconds(90)) { try await test.count("n2", "tandem.inbox_dead") > 0 }
                    try await wait(for: "the others") { try await handled(test).split(separator: ",").sorted() == ["1", "3"] }
                }
            }
            let dead = try await Inbox(test.cluster, on: "n2").dead()
            #expect(dead.count == 1 && dead[0].error?.hasPrefix("deadlineExceeded") == true)
        }
    }

    @Test("a message whose effects are refused at the commit only is given up, and those beside it are handled")
    func refusedAtCommit() async throws {
        try await withNodes { test in
            try await sql(
                try test.superuser("n2"),
                "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '23514'; END $$",
                """
                CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON handled DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.body = '2') \
                EXECUTE FUNCTION refuse()
                """)
            for number in 1...3 { try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k\(number)', '\(number)')") }
            let relay = try relay(test), consumer = consumer(test)
            try await running({ try await relay.run() }) {
                try await running({ try await consumer.run() }) {
                    try await wait(for: "the dead letter, and the others") {
                        guard try await test.count("n2", "tandem.inbox_dead") == 1 else { return false }
                        return try await handled(test).split(separator: ",").sorted() == ["1", "3"]
                    }
                }
            }
            let dead = try await Inbox(test.cluster, on: "n2").dead()
            #expect(dead.map(\.attempts) == [3] && dead[0].error?.contains("no") == true)
        }
    }

    @Test("more large messages than fit into one answer are handled, in their order; one that is too large alone is given up")
    func large() async throws {
        try await withNodes { test in
            try await sql(
                try test.superuser("n2"),
                """
                INSERT INTO tandem.inbox_queue (queue, id, source, topic, key, content_type, payload)
                SELECT 'orders', gen_random_uuid(), '/test/n9', 't', 'k', 'text/plain', convert_to(i || repeat(' ', CASE i WHEN 7 THEN 9000000 ELSE 1000000 END), 'UTF8')
                FROM generate_series(1, 20) i
                """)
            var options = InboxConsumer.Options()
            (options.wait, options.attempts) = (.milliseconds(5), 2)
            let consumer = InboxConsumer(test.cluster, on: "n2", queue: "orders", options: options) { message, branch in
                let body = String(decoding: message.event.payload.prefix { $0 != 32 }, as: UTF8.self)
                try await branch.execute("INSERT INTO handled (key, body) VALUES (\(message.event.key), \(body))")
            }
            try await running({ try await consumer.run() }) {
                try await wait(for: "all", within: .seconds(90)) { try await test.count("n2", "tandem.inbox_queue") == 0 }
            }
            #expect(try await handled(test) == (1...20).filter { $0 != 7 }.map(String.init).joined(separator: ","))
            let dead = try await Inbox(test.cluster, on: "n2").dead()
            #expect(dead.count == 1 && dead[0].error?.hasPrefix("eventTooLarge") == true)
        }
    }

    @Test("an id of a distant future, which could not be forgotten, is refused alone where ids are what is known of events")
    func distant() async throws {
        try await withNodes { test in
            let sink = InboxSink(test.cluster, on: "n2", queue: "orders")
            func delivery(_ id: String, _ key: String, _ number: Int64) -> Delivery {
                let event = Event(
                    id: id, topic: "t", key: key, headers: [], contentType: "text/plain", payload: Array("\(number)".utf8), time: "2026-01-01T00:00:00Z")
                return Delivery(event, from: "/test/n1", to: "copies", at: .init(window: 1, sequence: number), isPlaceLasting: false)
            }
            // Of 2200, and one without a time.
            let future = "069f2a4c-0000-7000-8000-000000000001", now = try await test.value("n1", "SELECT tandem.event_id()") ?? ""
            let verdicts = try await sink.deliver([
                delivery(now, "a", 1), delivery(future, "a", 2), delivery("00000000-0000-4000-8000-000000000001", "a", 3),
                delivery("00000000-0000-4000-8000-000000000002", "b", 4),
            ])
            var refused: TandemError?
            if case .refused(let error) = verdicts[1] { refused = error }
            #expect(refused?.code == .eventRefused && refused?.message.contains(future) == true)
            if case .held = verdicts[2] {} else { Issue.record("the one behind it is to wait") }
            let queued = try await test.value("n2", "SELECT string_agg(convert_from(payload, 'UTF8'), ',' ORDER BY place) FROM tandem.inbox_queue")
            #expect(queued == "1,4")
        }
    }

    @Test("from a sink whose shares become 4, 3 and 1 while it is used: each effect once, in the order of its key")
    func shares() async throws {
        try await withNodes { test in
            func relay(_ shares: Int) throws -> OutboxRelay {
                var options = RelayOptions()
                (options.poll, options.isFromStart, options.lease, options.shares, options.batch) = (.milliseconds(20), true, .seconds(60), shares, 5)
                return try OutboxRelay(test.cluster, from: "n1", to: "copies", options: options) { _ in InboxSink(test.cluster, on: "n2", queue: "orders") }
            }
            let consumer = consumer(test)
            var last = 0
            try await running({ try await consumer.run() }) {
                for shares in [1, 4, 3, 1] {
                    let relay = try relay(shares)
                    try await running({ try await relay.run() }) {
                        for _ in 0..<60 {
                            last += 1
                            try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k\(last % 12)', '\(last)')")
                        }
                        try await wait(for: "\(shares) shares") { try await test.count("n1", "tandem.outbox_sink") == shares }
                        // It ends with some of them on their way.
                        try await wait(for: "some of each share") {
                            let handled = try await test.count("n2", "handled"), lanes = try await test.count("n2", "tandem.inbox_position")
                            return handled > last - 40 && lanes >= shares
                        }
                    }
                }
                let relay = try relay(4)
                try await running({ try await relay.run() }) {
                    try await wait(for: "all") { try await test.count("n2", "handled") >= last }
                    try await wait(for: "no lag") { try await Outbox(test.cluster, on: "n1").lag().map(\.events) == [0] }
                }
                try await wait(for: "an empty queue") { try await test.count("n2", "tandem.inbox_queue") == 0 }
            }
            #expect(try await test.count("n2", "handled") == last)
            let disorder = "(SELECT body::int - lag(body::int) OVER (PARTITION BY key ORDER BY place) AS step FROM handled) x WHERE step <= 0"
            #expect(try await test.count("n2", disorder) == 0)
            #expect(try await test.count("n2", "tandem.inbox_position") == 4, "a place for each share")
        }
    }
}
