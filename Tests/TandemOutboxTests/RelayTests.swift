import Foundation
import TandemCluster
import TandemCore
import TandemMessaging
import TandemOutbox
import TandemPostgres
import TandemTestSupport
import TandemTransactions
import Testing

@Suite("Events leave with the transaction that made them")
struct RelayTests {
    /// Runs a relay to a sink in memory while the body runs.
    private func withRelay<Value>(
        _ test: TestCluster, _ sink: any Sink, cluster: Cluster? = nil, _ change: (inout RelayOptions) -> Void = { _ in },
        _ body: () async throws -> Value
    ) async throws -> Value {
        var options = RelayOptions()
        options.poll = .milliseconds(20)
        options.isFromStart = true
        options.wait = .milliseconds(5)
        options.lease = .seconds(60)
        change(&options)
        let relay = try OutboxRelay(cluster ?? test.cluster, from: "n1", to: "test", sink, options: options)
        return try await running({ try await relay.run() }, body)
    }

    @Test("an event is sent when its transaction commits, with all that was given to it, and not when it is rolled back")
    func published() async throws {
        struct Order: Codable { let id: Int }
        try await withCluster(2, modules: [.outbox]) { test in
            let sink = RecordingSink()
            try await withRelay(test, sink) {
                let id = UUID()
                try await test.cluster.transaction { tx in
                    try await tx["n1"].execute("UPDATE account SET balance = balance - 1 WHERE id = 1")
                    try await tx["n2"].execute("UPDATE account SET balance = balance + 1 WHERE id = 1")
                    try await tx["n1"].publish(topic: "order.created", key: "c1", payload: Order(id: 7), headers: [.init("trace", "ä\"1")], id: id)
                    try await tx["n1"].publish(topic: "order.picture", key: nil, bytes: [0, 255, 7], contentType: "image/png")
                }
                struct No: Error {}
                await #expect(throws: No.self) {
                    try await test.cluster.transaction { tx in
                        try await tx["n1"].publish(topic: "order.created", key: "c1", payload: Order(id: 8))
                        throw No()
                    }
                }
                try await sql(try test.conninfo("n1"), "SELECT tandem.publish('order.sql', 'c1', '{\"id\": 9}', '{\"a\": 1}')")
                try await wait(for: "three events") { sink.events.count >= 3 }
                let events = sink.events
                #expect(events.map(\.topic) == ["order.created", "order.picture", "order.sql"])
                #expect(events[0].id == id.uuidString.lowercased() && events[0].key == "c1" && sink.texts[0] == #"{"id":7}"#)
                #expect(events[0].headers == [.init("trace", "ä\"1")] && events[0].contentType == "application/json")
                #expect(events[1].payload == [0, 255, 7] && events[1].key == nil && events[1].contentType == "image/png")
                #expect(events[2].headers == [.init("a", "1")] && sink.texts[2] == #"{"id": 9}"#)
                #expect(sink.state.withLock { $0.deliveries.map(\.source) } == Array(repeating: "/test/n1", count: 3))
            }
            let lag = try await Outbox(test.cluster, on: "n1").lag()
            #expect(lag.map(\.sink) == ["test"] && lag[0].parked == 0)
        }
    }

    @Test("case 2 and 4: one that commits late is sent at once, a prepared one when it is decided, and neither holds up others")
    func late() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink()
            try await withRelay(test, sink) {
                let open = try await test.session("n1")
                // A window goes by while it is open, and no snapshot lists it as long as no younger transaction has ended.
                try await open.run("BEGIN")
                try await open.run("SELECT tandem.publish('t', 'a', '0')")
                try await wait(for: "a window without it") { try await test.count("n1", "tandem.outbox_window WHERE last_seq > 1") > 0 }
                try await open.run("COMMIT")
                try await wait(for: "the first one") { sink.texts == ["0"] }
                try await open.run("BEGIN")
                try await open.run("SELECT tandem.publish('t', 'a', '1')")
                try await sql(
                    try test.conninfo("n1"), "BEGIN", "SELECT tandem.publish('t', 'b', '2')", "PREPARE TRANSACTION 'late one'")
                try await sql(
                    try test.conninfo("n1"), "BEGIN", "SELECT tandem.publish('t', 'b', '3')", "PREPARE TRANSACTION 'never one'")
                try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'c', '4')")
                try await wait(for: "the one that has committed") { sink.texts == ["0", "4"] }
                try await open.run("COMMIT")
                try await wait(for: "the late one, though nothing else happens") { sink.texts == ["0", "4", "1"] }
                // Whoever decides comes after five minutes.
                let period = Soak.period(.seconds(300))
                try await wait(for: "the age of what is prepared", within: period + .seconds(30)) {
                    try await test.count(
                        "n1",
                        "pg_prepared_xacts WHERE database = current_database() AND prepared < clock_timestamp() - interval '\(period.components.seconds) s'")
                        == 2
                }
                try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'c', '5')")
                try await wait(for: "one that is published meanwhile") { sink.texts == ["0", "4", "1", "5"] }
                try await sql(try test.conninfo("n1"), "ROLLBACK PREPARED 'never one'", "COMMIT PREPARED 'late one'")
                try await wait(for: "the prepared one") { sink.texts == ["0", "4", "1", "5", "2"] }
                await open.close()
            }
        }
    }

    @Test("what a late transaction has left is in the lag as long as the sink does not have it")
    func lateLag() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = SlowSink(), late = try await test.session("n1"), outbox = Outbox(test.cluster, on: "n1")
            try await withRelay(test, sink) {
                try await late.run("BEGIN")
                for number in 1...3 { try await late.run("SELECT tandem.publish('t', 'a', '\(number)')") }
                try await late.run("UPDATE tandem.outbox SET at = at - interval '1 hour'")
                try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'b', '4')")
                try await wait(for: "the one that has committed") { sink.texts == ["4"] }
                try await wait(for: "no lag") { try await outbox.lag().map(\.events) == [0] }
                sink.state.withLock { $0.isDown = true }
                try await late.run("COMMIT")
                try await wait(for: "an attempt") { sink.attempts.count > 1 }
                let lag = try await outbox.lag()
                #expect(lag[0].events == 3 && lag[0].seconds >= 3600)
                sink.state.withLock { $0.isDown = false }
                try await wait(for: "the late ones") { sink.texts == ["4", "1", "2", "3"] }
                try await wait(for: "no lag") { try await outbox.lag().map(\.events) == [0] }
                try await late.run("BEGIN")
                try await late.run("SELECT tandem.publish('t', 'a', '5')")
                try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'b', '6')")
                try await wait(for: "the one that has committed") { sink.texts.last == "6" }
                try await wait(for: "no lag") { try await outbox.lag().map(\.events) == [0] }
            }
            // Also where nobody relays.
            try await late.run("COMMIT")
            #expect(try await outbox.lag().map { [$0.events, $0.led] } == [[1, 0]])
            await late.close()
        }
    }

    @Test("case 1: whoever writes, and whichever of two relays sends: nothing is lost, and each key's events are in its order")
    func order() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), another = try test.another(), producers = 16, each = 12
            defer { another.close() }
            try await sql(
                try test.superuser("n1"), "CREATE TABLE keyed (key text PRIMARY KEY, version int)", "GRANT ALL ON keyed TO tandem",
                "INSERT INTO keyed VALUES ('a', 0), ('b', 0), ('c', 0)")
            try await withRelay(test, sink, { $0.lease = .seconds(2) }) {
                try await withRelay(test, sink, cluster: another, { $0.lease = .seconds(2) }) {
                    let thief = Task {
                        while !Task.isCancelled {
                            try await test.value("n1", "UPDATE tandem.outbox_sink SET until = '-infinity'")
                            for _ in 0..<10 { await tick() }
                        }
                    }
                    defer { thief.cancel() }
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for producer in 0..<producers {
                            group.addTask {
                                for number in 0..<each {
                                    let key = ["a", "b", "c"][(producer + number) % 3]
                                    try await test.cluster["n1"].transaction { branch in
                                        // It has its transaction id long before it has the key's row.
                                        try await branch.execute("UPDATE account SET balance = balance WHERE id = \(producer + 1)")
                                        for _ in 0..<Int.random(in: 0...4) { await tick() }
                                        let version = try await branch.query(
                                            "UPDATE keyed SET version = version + 1 WHERE key = \(key) RETURNING version", as: Int.self)[0]
                                        try await branch.publish(topic: "t", key: key, payload: version)
                                        for _ in 0..<Int.random(in: 0...2) { await tick() }
                                    }
                                }
                            }
                        }
                        try await group.waitForAll()
                    }
                    try await wait(for: "all events") { Set(sink.events.map(\.id)).count == producers * each }
                    try await wait(for: "take-overs") { Int(try await test.value("n1", "SELECT epoch FROM tandem.outbox_sink") ?? "") ?? 0 > 5 }
                }
            }
            var seen: Set<String> = [], versions: [String: [Int]] = [:]
            for event in sink.events where seen.insert(event.id).inserted {
                versions[event.key ?? "", default: []].append(Int(String(decoding: event.payload, as: UTF8.self)) ?? 0)
            }
            for (key, versions) in versions { #expect(versions == Array(1...versions.count), "key \(key)") }
            #expect(versions.values.map(\.count).reduce(0, +) == producers * each)
        }
    }

    @Test("a window of many events is sent in parts, and another relay goes on where one has stopped")
    func parts() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink()
            try await sql(try test.superuser("n1"), "SELECT count(tandem.publish('t', 'k', i::text)) FROM generate_series(1, 1000) i")
            // The first one ends in the middle.
            sink.state.withLock { $0.refuses = { _ in false } }
            try await withRelay(test, sink, { $0.batch = 30 }) { try await wait(for: "some") { sink.events.count >= 90 } }
            try await withRelay(test, sink, { $0.batch = 100 }) { try await wait(for: "all") { Set(sink.texts).count == 1000 } }
            var seen: Set<String> = []
            #expect(sink.texts.filter { seen.insert($0).inserted } == (1...1000).map(String.init))
            #expect(sink.events.count < 1200, "what was noted is not sent again")
        }
    }

    @Test("case 9: a sink that is down loses nothing; a poisoned event waits with its key, and other keys flow")
    func poisoned() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), outbox = Outbox(test.cluster, on: "n1")
            sink.state.withLock {
                $0.isDown = true
                $0.refuses = { $0.payload == Array("3".utf8) }
            }
            func publish(_ key: String, _ number: Int) async throws {
                try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', '\(key)', '\(number)')")
            }
            try await withRelay(test, sink, { $0.attempts = 3 }) {
                for number in 1...6 { try await publish(number % 2 == 0 ? "even" : "odd", number) }
                try await wait(for: "the lag") { (try await outbox.lag().first?.events ?? 0) >= 6 }
                #expect(sink.events.isEmpty)
                sink.state.withLock { $0.isDown = false }
                try await wait(for: "the other key, and what was before") { Set(sink.texts) == ["1", "2", "4", "6"] }
                try await publish("odd", 7)
                try await wait(for: "the attempts to be used up") {
                    let parked = try await outbox.parked()
                    return parked.count == 3 && parked[0].dueAt == nil && parked[0].attempts >= 2
                }
                let parked = try await outbox.parked()
                #expect(parked.map(\.state) == [.parked, .parked, .parked] && parked[0].error == "eventRefused: no" && parked[1].error == nil)
                // Mended: all of the key come in their order.
                sink.state.withLock { $0.refuses = { _ in false } }
                let count = try await outbox.retry(sink: "test", ids: [parked[0].id])
                #expect(count == 1)
                try await wait(for: "the key's events") { sink.texts.suffix(3) == ["3", "5", "7"] }
                try await publish("odd", 9)
                try await wait(for: "the key to flow") { sink.texts.last == "9" }
                let left = try await outbox.parked()
                #expect(left.isEmpty)
            }
            #expect(Set(sink.texts).count == 8 && sink.texts.count == 8)
        }
    }

    @Test("case 9: after ten minutes without a sink nothing was set aside; of 100,000 events one is refused, and all but those of its key behind it come")
    func outage() async throws {
        let number = Soak.count(100_000), keys = 50, poisoned = number / 2, period = Soak.period(.seconds(600))
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), outbox = Outbox(test.cluster, on: "n1")
            sink.state.withLock {
                $0.isDown = true
                $0.refuses = { $0.payload == Array("\(poisoned)".utf8) }
            }
            try await withRelay(
                test, sink,
                {
                    $0.attempts = 3
                    $0.refusal = .dead
                    $0.longestWait = .milliseconds(100)
                }
            ) {
                try await test.value("n1", "SELECT count(tandem.publish('t', 'k' || (i % \(keys)), i::text)) FROM generate_series(1, \(number)) i")
                try await wait(for: "the end of the outage", within: period + .seconds(60)) {
                    try await outbox.lag().first.map { $0.seconds >= Double(period.components.seconds) && $0.events >= number } ?? false
                }
                #expect(try await outbox.lag().map { [$0.parked, $0.dead] } == [[0, 0]])
                sink.state.withLock { $0.isDown = false }
                try await wait(for: "all but one", within: .seconds(120)) { sink.texts.count == number - 1 }
                try await wait(for: "the dead letter") { try await outbox.lag().map { [$0.parked, $0.dead, $0.events] } == [[0, 1, 0]] }
            }
            var last: [String: Int] = [:]
            for (event, text) in zip(sink.events, sink.texts) {
                let count = Int(text) ?? 0
                #expect(count > last[event.key ?? "", default: 0], "\(text) of \(event.key ?? "")")
                last[event.key ?? ""] = count
            }
            #expect(!sink.texts.contains("\(poisoned)"))
        }
    }

    @Test(
        "an operator drops an event, and its key flows on; with the other policy it becomes a dead letter by itself", arguments: RelayOptions.Refusal.allCases)
    func dropped(_ policy: RelayOptions.Refusal) async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), outbox = Outbox(test.cluster, on: "n1")
            sink.state.withLock { $0.refuses = { $0.payload == Array("1".utf8) } }
            try await withRelay(
                test, sink,
                {
                    $0.attempts = 2
                    $0.refusal = policy
                }
            ) {
                for number in 1...3 { try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k', '\(number)')") }
                if policy == .pause {
                    try await wait(for: "the attempts to be used up") { try await outbox.parked().first.map { $0.attempts >= 1 && $0.dueAt == nil } ?? false }
                    #expect(sink.events.isEmpty)
                    let id = try await outbox.parked()[0].id
                    let count = try await outbox.drop(sink: "test", ids: [id])
                    #expect(count == 1)
                }
                try await wait(for: "those behind it") { sink.texts == ["2", "3"] }
                let dead = try await outbox.lag().first?.dead
                #expect(dead == (policy == .dead ? 1 : 0))
            }
        }
    }

    @Test("one attempt is one attempt; those that an operator asks for are all there again", arguments: RelayOptions.Refusal.allCases)
    func counted(_ policy: RelayOptions.Refusal) async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), tries = Locked(0), outbox = Outbox(test.cluster, on: "n1")
            sink.state.withLock {
                $0.refuses = { event in
                    guard event.payload == Array("1".utf8) else { return false }
                    tries.withLock { $0 += 1 }
                    return true
                }
            }
            func relaying(_ attempts: Int, _ body: () async throws -> Void) async throws {
                try await withRelay(test, sink, { ($0.attempts, $0.refusal) = (attempts, policy) }, body)
            }
            func isOver(_ attempts: Int) async throws -> Bool {
                guard let event = try await outbox.parked().first else { return false }
                return event.attempts == attempts && (policy == .dead ? event.state == .dead : event.dueAt == nil)
            }
            for number in 1...2 { try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k', '\(number)')") }
            try await relaying(1) {
                try await wait(for: "its end") { try await isOver(1) }
                if policy == .dead { try await wait(for: "the one behind it") { sink.texts == ["2"] } }
            }
            #expect(tries.withLock { $0 } == 1)
            _ = try await outbox.retry(sink: "test")
            try await relaying(3) { try await wait(for: "its end") { try await isOver(3) } }
            #expect(tries.withLock { $0 } == 4)
        }
    }

    @Test("headers arrive in their order, names that come twice included; what is no object of JSON is refused")
    func headers() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), session = try await test.session("n1")
            for headers in [#"{"trace": "1", "trace": "2", "a": {"b": [1]}}"#, #"{"half": "\ud800"}"#, "null"] {
                try await session.run("SELECT tandem.publish('t', 'k', '{}', headers => '\(headers)')")
            }
            for headers in [#"["a"]"#, #""a""#, "1"] {
                let error = await refusal { try await test.cluster["n1"].execute("SELECT tandem.publish('t', 'k', '{}', headers => \(headers)::json)") }
                #expect(error?.sqlState == SQLState(rawValue: "22023") && error?.message.contains("headers are an object of JSON") == true, "\(headers)")
            }
            try await withRelay(test, sink) { try await wait(for: "all") { sink.events.count == 3 } }
            #expect(
                sink.events.map(\.headers) == [
                    [.init("trace", "1"), .init("trace", "2"), .init("a", #"{"b":[1]}"#)], [.init("half", "\u{FFFD}")], [],
                ])
            await session.close()
        }
    }

    @Test("a payload beyond the limit is a named error, and leaves the transaction's fate to its owner")
    func limit() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let error = await refusal {
                try await test.cluster["n1"].transaction {
                    try await $0.publish(topic: "t", key: nil, bytes: [UInt8](repeating: 0, count: 1_048_577), contentType: "application/octet-stream")
                }
            }
            #expect(error?.code == .eventTooLarge && error?.effect == .rolledBack)
            let long = String(repeating: "k", count: 1025)
            let key = await refusal { try await test.cluster["n1"].transaction { try await $0.publish(topic: "t", key: long, payload: 1) } }
            #expect(key?.code == .eventTooLarge)
        }
        try await withCluster(1) { test in
            let error = await refusal { try await test.cluster["n1"].transaction { try await $0.publish(topic: "t", key: nil, payload: 1) } }
            #expect(error?.code == .notInitialised)
        }
    }

    @Test("a replay sends again what was committed since about then")
    func replayed() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), outbox = Outbox(test.cluster, on: "n1")
            try await withRelay(test, sink) {
                for number in 1...3 { try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k', '\(number)')") }
                try await wait(for: "all") { sink.texts == ["1", "2", "3"] }
                // As if the history were older.
                try await test.value("n1", "UPDATE tandem.outbox_history SET at = at - interval '1 hour', snapshot = '3:3:', seq = 0")
                _ = try await outbox.replay(sink: "test", since: .seconds(60))
                try await wait(for: "all again") { sink.texts == ["1", "2", "3", "1", "2", "3"] }
            }
            let error = await refusal { try await outbox.replay(sink: "test", since: .seconds(24 * 3600)) }
            #expect(error?.code == .notFound)
        }
    }

    @Test("a replay sends dead letters again, too, and the key waits for one that is refused again")
    func replayedDead() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), outbox = Outbox(test.cluster, on: "n1"), again = RecordingSink()
            for number in 1...3 { try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k', '\(number)')") }
            sink.state.withLock { $0.refuses = { $0.payload == Array("2".utf8) } }
            try await withRelay(test, sink, { ($0.attempts, $0.refusal) = (1, .dead) }) {
                try await wait(for: "the dead letter") { try await outbox.parked().map(\.state) == [.dead] && sink.texts == ["1", "3"] }
                try await wait(for: "the note of it") { try await outbox.lag().first?.events == 0 }
            }
            // As if the history were older.
            try await test.value("n1", "UPDATE tandem.outbox_history SET at = at - interval '1 hour', snapshot = '3:3:', seq = 0")
            _ = try await outbox.replay(sink: "test", since: .seconds(60))
            again.state.withLock { $0.refuses = { $0.payload == Array("1".utf8) } }
            try await withRelay(test, again, { $0.attempts = 2 }) {
                try await wait(for: "all that waits") {
                    let parked = try await outbox.parked()
                    return parked.count == 3 && parked.allSatisfy { $0.state == .parked } && parked[0].dueAt == nil
                }
                again.state.withLock { $0.refuses = { _ in false } }
                _ = try await outbox.retry(sink: "test")
                try await wait(for: "all") { again.texts == ["1", "2", "3"] }
                try await wait(for: "nothing that is set aside") { try await outbox.parked().isEmpty }
            }
        }
    }

    @Test("a replay leaves nothing out that was not sent yet")
    func replayedEarly() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), outbox = Outbox(test.cluster, on: "n1")
            try await withRelay(test, sink) {
                try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k', '1')")
                try await wait(for: "the first one") { sink.texts == ["1"] }
            }
            try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k', '2')")
            // A place in the history behind the second one.
            try await sql(
                try test.superuser("n1"), "DELETE FROM tandem.outbox_history",
                "INSERT INTO tandem.outbox_history SELECT now() - interval '1 minute', pg_current_snapshot(), last_value FROM tandem.outbox_seq")
            _ = try await outbox.replay(sink: "test", since: .seconds(10))
            try await withRelay(test, sink) { try await wait(for: "the second one") { sink.texts.contains("2") } }
        }
    }

    @Test("a replay never moves a sink forward: what tells is what a snapshot shows, whatever number was read before it")
    func replayedBack() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), outbox = Outbox(test.cluster, on: "n1")
            try await withRelay(test, sink) {
                try await sql(try test.conninfo("n1"), "SELECT count(tandem.publish('t', 'k', i::text)) FROM generate_series(1, 3) i")
                try await wait(for: "the first ones") { sink.texts == ["1", "2", "3"] }
                try await wait(for: "no lag") { try await outbox.lag().map(\.events) == [0] }
            }
            try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k', '4')")
            // As of a relay that has read the number long before it took its snapshot.
            try await sql(
                try test.superuser("n1"), "DELETE FROM tandem.outbox_history",
                "INSERT INTO tandem.outbox_history SELECT now() - interval '1 minute', pg_current_snapshot(), 1")
            _ = try await outbox.replay(sink: "test", since: .seconds(10))
            try await withRelay(test, sink) { try await wait(for: "the last one") { sink.texts.last == "4" } }
        }
    }

    @Test("after a promotion the relay goes on by itself; after a restore it waits for an operator")
    func promoted() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), outbox = Outbox(test.cluster, on: "n1")
            func publish(_ number: Int) async throws { try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k', '\(number)')") }
            try await publish(1)
            try await withRelay(test, sink) { try await wait(for: "the first one") { sink.texts == ["1"] } }
            try await test.value("n1", "UPDATE tandem.outbox_settings SET timeline = timeline + 1")
            try await publish(2)
            try await withRelay(test, sink) { try await wait(for: "the second one") { sink.texts.last == "2" } }
            try await test.value("n1", "UPDATE tandem.outbox_settings SET system_identifier = 1")
            try await publish(3)
            try await withRelay(test, sink, { $0.longestWait = .milliseconds(20) }) {
                try await wait(for: "the refusal") {
                    await refusal { try await test.cluster["n1"].execute("SELECT tandem.outbox_claim('test', 0::int2, 'x', '1 s')") }?.sqlState
                        == .outboxRestored
                }
                #expect(sink.texts.last == "2")
                // All that is there is sent again.
                let count = try await outbox.rebase(from: 0)
                #expect(count == 3)
                try await wait(for: "all") { sink.texts.suffix(3) == ["1", "2", "3"] }
            }
        }
    }

    @Test("a rebase that has to wait while others commit sends all the same")
    func rebased() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), outbox = Outbox(test.cluster, on: "n1"), reader = try await test.session("n1")
            try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k', '1')")
            try await withRelay(test, sink) { try await wait(for: "it") { sink.texts == ["1"] } }
            try await reader.run("BEGIN")
            try await reader.run("LOCK TABLE tandem.outbox IN ACCESS SHARE MODE")
            let rebase = Task { try await outbox.rebase(from: 0) }
            try await wait(for: "the rebase") { try await test.waiting("n1") == 1 }
            try await test.value("n1", "SELECT pg_current_xact_id()")
            try await reader.run("COMMIT")
            #expect(try await rebase.value == 1)
            try await withRelay(test, sink) { try await wait(for: "it again") { sink.texts == ["1", "1"] } }
            await reader.close()
        }
    }

    @Test("a relay that is at work during a promotion gives no number of a window again that the successor does not know")
    func promotedMeanwhile() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = SlowSink(isHeld: true)
            func publish(_ number: Int) async throws { try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k', '\(number)')") }
            try await publish(1)
            try await withRelay(test, sink) {
                try await wait(for: "the sink to have it") { sink.attempts.count == 1 }
                let last = sink.attempts[0][0].place.window
                // As a successor to which the last window was not replicated; no lease has to be renewed for minutes.
                try await test.value("n1", "DELETE FROM tandem.outbox_window WHERE number = \(last)")
                try await test.value("n1", "UPDATE tandem.outbox_settings SET timeline = timeline + 1")
                try await publish(2)
                sink.state.withLock { $0.isHeld = false }
                try await wait(for: "all") { sink.texts.last == "2" }
                let places = sink.delivered.map(\.place)
                #expect(sink.texts == ["1", "1", "2"] && places[0].window == last)
                #expect(places.dropFirst().allSatisfy { $0.window > last + 1000 })
            }
        }
    }

    @Test("a sink that ends as if it were cancelled is tried again")
    func cancelledItself() async throws {
        struct Hasty: Sink {
            let sink: RecordingSink
            let isFirst = Locked(true)

            func deliver(_ batch: [Delivery]) async throws -> [DeliveryVerdict] {
                let isFirst = isFirst.withLock { isFirst in
                    defer { isFirst = false }
                    return isFirst
                }
                if isFirst { throw CancellationError() }
                return try await sink.deliver(batch)
            }

            func close() async {}
        }
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink()
            try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k', '1')")
            try await withRelay(test, Hasty(sink: sink)) { try await wait(for: "it") { sink.texts == ["1"] } }
        }
    }

    @Test("a sink that is forgotten keeps nothing, and begins anew when it comes again")
    func removed() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sink = RecordingSink(), outbox = Outbox(test.cluster, on: "n1")
            try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k', '1')")
            try await withRelay(test, sink) { try await wait(for: "it") { sink.texts == ["1"] } }
            let answers = [try await outbox.remove(sink: "test"), try await outbox.remove(sink: "test")]
            #expect(answers == [true, false])
            #expect(try await outbox.lag().isEmpty)
            try await withRelay(test, sink) { try await wait(for: "it again") { sink.texts == ["1", "1"] } }
        }
    }

    @Test("a sink that was forgotten and comes again has higher windows than it ever had, whatever the clock says")
    func removedAhead() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let outbox = Outbox(test.cluster, on: "n1"), numbers = "SELECT max(number) FROM tandem.outbox_window"
            func number() async throws -> Int { Int(try await test.value("n1", numbers) ?? "") ?? 0 }
            try await test.value("n1", "SELECT tandem.outbox_add_sink('test')")
            // Each one is a million on, which is a quarter of an hour.
            for _ in 0..<3 { try await test.value("n1", "SELECT tandem.outbox_renumber()") }
            let before = try await number(), isGone = try await outbox.remove(sink: "test")
            #expect(isGone)
            try await test.value("n1", "SELECT tandem.outbox_add_sink('test')")
            #expect(try await number() > before)
        }
    }
}
