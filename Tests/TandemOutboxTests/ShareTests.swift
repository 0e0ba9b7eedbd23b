import Foundation
import Logging
import TandemCluster
import TandemCore
import TandemMessaging
import TandemOutbox
import TandemPostgres
import TandemTestSupport
import TandemTransactions
import Testing

/// What the sinks of all shares of all relays have got, in one order; and what of it the queue of an inbox would have, which keeps the last place of each lane and leaves out what is not
/// behind it.
private final class Journal: Sendable {
    struct State: Sendable {
        var deliveries: [Delivery] = []
        /// Each event when it came for the first time.
        var firsts: [Delivery] = []
        var kept: [Delivery] = []
        var places: [String: Delivery.Place] = [:]
        var ids: Set<String> = []
        /// The lanes of which something came since they were last forgotten.
        var lanes: Set<String> = []
        /// Events that came to the sink of another share.
        var strays = 0
        /// Shares whose sink is down.
        var down: Set<Int> = []
        /// Whether what was taken is not answered, as by a relay that dies before the answer.
        var isMute = false
        var unanswered = 0
        var refuses: @Sendable (Event) -> Bool = { _ in false }
    }

    let state = Locked(State())

    var deliveries: [Delivery] { state.withLock { $0.deliveries } }
    var kept: [Delivery] { state.withLock { $0.kept } }
    /// How many events have come, however often.
    var distinct: Int { state.withLock { $0.ids.count } }
    /// What came, each once.
    var texts: [String] { state.withLock { $0.firsts }.map { String(decoding: $0.event.payload, as: UTF8.self) } }

    func take(_ batch: [Delivery], by share: Int) async throws -> [DeliveryVerdict] {
        let (verdicts, isAnswered) = try state.withLock { state in
            if state.down.contains(share) { throw TandemError(.sinkUnavailable, "down", nextStep: "wait") }
            if state.isMute { state.unanswered += 1 }
            return (state.take(batch, by: share), !state.isMute)
        }
        while !isAnswered {
            try Task.checkCancellation()
            await tick()
        }
        return verdicts
    }
}

extension Journal.State {
    mutating func take(_ batch: [Delivery], by share: Int) -> [DeliveryVerdict] {
        var blocked: Set<String> = [], verdicts: [DeliveryVerdict] = []
        for delivery in batch {
            let key = delivery.event.key ?? ""
            if blocked.contains(key) {
                verdicts.append(.held)
            } else if refuses(delivery.event) {
                blocked.insert(key)
                verdicts.append(.refused(TandemError(.eventRefused, "no", nextStep: "fix it")))
            } else {
                take(delivery, by: share)
                verdicts.append(.delivered)
            }
        }
        return verdicts
    }

    private mutating func take(_ delivery: Delivery, by share: Int) {
        deliveries.append(delivery)
        if ids.insert(delivery.event.id).inserted { firsts.append(delivery) }
        lanes.insert(delivery.sink)
        if delivery.sink != (share == 0 ? "test" : "test#\(share)") { strays += 1 }
        if places[delivery.sink].map({ $0 < delivery.place }) ?? true {
            places[delivery.sink] = delivery.place
            kept.append(delivery)
        }
    }
}

/// The sink of one share.
private struct ShareSink: Sink {
    let journal: Journal
    let share: Int

    func deliver(_ batch: [Delivery]) async throws -> [DeliveryVerdict] { try await journal.take(batch, by: share) }

    func close() async {}
}

/// Publish versions of keys, each in the transaction that has counted it.
private struct Producers: Sendable {
    let test: TestCluster
    private let keys = 30

    init(_ test: TestCluster) async throws {
        self.test = test
        try await sql(
            try test.superuser("n1"), "CREATE TABLE keyed (key text PRIMARY KEY, version int)", "GRANT ALL ON keyed TO tandem",
            "INSERT INTO keyed SELECT 'k' || i, 0 FROM generate_series(0, \(keys - 1)) i")
    }

    func publish(_ producer: Int, _ number: Int) async throws {
        let key = "k\((producer * 7 + number) % keys)"
        try await test.cluster["n1"].transaction { branch in
            // It has its transaction id long before it has the key's row.
            try await branch.execute("UPDATE account SET balance = balance WHERE id = \(producer + 1)")
            for _ in 0..<Int.random(in: 0...4) { await tick() }
            let version = try await branch.query("UPDATE keyed SET version = version + 1 WHERE key = \(key) RETURNING version", as: Int.self)[0]
            try await branch.publish(topic: "t", key: key, payload: version)
            for _ in 0..<Int.random(in: 0...2) { await tick() }
        }
    }

    /// Publishes from so many tasks while the body runs.
    ///
    /// - Returns: how many events were published.
    func publishing(_ producers: Int, while body: () async throws -> Void) async throws -> Int {
        let isOver = Locked(false)
        return try await withThrowingTaskGroup(of: Int.self) { group in
            for producer in 0..<producers {
                group.addTask {
                    var count = 0
                    while !isOver.withLock({ $0 }) {
                        try await publish(producer, count)
                        count += 1
                    }
                    return count
                }
            }
            try await body()
            isOver.withLock { $0 = true }
            return try await group.reduce(0, +)
        }
    }
}

@Suite("A sink's events are divided by their keys, for several relays at a time")
struct ShareTests {
    private static let patience = Duration.seconds(90)

    private func relay(_ cluster: Cluster, _ shares: Int, _ journal: Journal, _ change: (inout RelayOptions) -> Void = { _ in }) throws -> OutboxRelay {
        var options = RelayOptions()
        options.shares = shares
        options.poll = .milliseconds(20)
        options.isFromStart = true
        options.wait = .milliseconds(5)
        options.longestWait = .milliseconds(50)
        options.lease = .seconds(60)
        change(&options)
        return try OutboxRelay(cluster, from: "n1", to: "test", options: options) { ShareSink(journal: journal, share: $0) }
    }

    private func shares(_ test: TestCluster) async throws -> Int { try await test.count("n1", "tandem.outbox_sink") }

    private func waitForShares(_ number: Int, _ test: TestCluster) async throws {
        try await wait(for: "\(number) shares", within: Self.patience) { try await shares(test) == number }
    }

    /// All that was published is there, the versions of each key in their order; what comes twice counts the first time.
    private func expectWhole(_ deliveries: [Delivery], _ published: Int) {
        var seen: Set<String> = [], versions: [String: [Int]] = [:]
        for delivery in deliveries where seen.insert(delivery.event.id).inserted {
            versions[delivery.event.key ?? "", default: []].append(Int(String(decoding: delivery.event.payload, as: UTF8.self)) ?? 0)
        }
        #expect(seen.count == published)
        for (key, versions) in versions { #expect(versions == Array(1...versions.count), "key \(key)") }
    }

    @Test("whoever writes, and whichever of two relays has a share: nothing is lost, each key is in its order, and each share has its own keys only")
    func order() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let journal = Journal(), another = try test.another(), producers = 16, each = 20
            defer { another.close() }
            let publishers = try await Producers(test)
            let relays = [
                try relay(test.cluster, 4, journal) { $0.lease = .seconds(2) }, try relay(another, 4, journal) { $0.lease = .seconds(2) },
            ]
            try await running({ try await relays[0].run() }) {
                try await running({ try await relays[1].run() }) {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for producer in 0..<producers {
                            group.addTask { for number in 0..<each { try await publishers.publish(producer, number) } }
                        }
                        try await group.waitForAll()
                    }
                    try await wait(for: "all events", within: Self.patience) { journal.distinct == producers * each }
                }
            }
            expectWhole(journal.deliveries, producers * each)
            // The same by the places: an inbox has each event once.
            #expect(journal.kept.count == producers * each)
            expectWhole(journal.kept, producers * each)
            #expect(journal.state.withLock { $0.strays } == 0)
            var lanes: [String: Set<String>] = [:]
            for delivery in journal.deliveries { lanes[delivery.event.key ?? "", default: []].insert(delivery.sink) }
            for (key, lanes) in lanes {
                let share = try await test.value("n1", "SELECT tandem.outbox_share('\(key)', 0, 4::int2)")
                #expect(lanes == [share == "0" ? "test" : "test#\(share ?? "")"], "key \(key)")
            }
            #expect(Set(lanes.values.flatMap { $0 }) == ["test", "test#1", "test#2", "test#3"])
        }
    }

    @Test("from 1 share to 4, 3 and 1 under load, each time after a relay that died with unnoted events: no loss, no disorder, and places tell all duplicates")
    func divided() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let journal = Journal(), producers = try await Producers(test)
            let published = try await producers.publishing(8) {
                for number in [1, 4, 3, 1] {
                    let relay = try relay(test.cluster, number, journal)
                    try await running({ try await relay.run() }) {
                        try await waitForShares(number, test)
                        journal.state.withLock { $0.lanes = [] }
                        try await wait(for: "events of each share", within: Self.patience) { journal.state.withLock { $0.lanes.count } == number }
                        // One of them is left behind.
                        let before = journal.state.withLock { state in
                            if number > 1 { state.down = [1] }
                            return state.ids.count
                        }
                        try await wait(for: "more of the others", within: Self.patience) { journal.distinct > before + 50 }
                        let unanswered = journal.state.withLock { state in
                            state.isMute = true
                            return state.unanswered
                        }
                        try await wait(for: "a batch without an answer", within: Self.patience) { journal.state.withLock { $0.unanswered } > unanswered }
                    }
                    journal.state.withLock { state in
                        state.isMute = false
                        state.down = []
                    }
                }
            }
            let last = try relay(test.cluster, 1, journal)
            try await running({ try await last.run() }) {
                try await wait(for: "all events", within: Self.patience) { journal.distinct >= published }
                try await wait(for: "no lag") { try await Outbox(test.cluster, on: "n1").lag().map(\.events) == [0] }
            }
            expectWhole(journal.deliveries, published)
            #expect(journal.deliveries.count > published, "some were sent twice")
            // A place in its lane is lower than one that was there before exactly where the event was there before.
            #expect(journal.kept.count == published)
            expectWhole(journal.kept, published)
        }
    }

    @Test("a relay with another number waits as long as one with the present number has a lease, and says for whom; then the other one waits")
    func waiting() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let journal = Journal(), said = Locked<[String]>([]), late = Locked<[String]>([])
            func publish(_ number: Int) async throws {
                for key in 0..<12 { try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k\(key)', '\(number)')") }
            }
            func hasSaid(_ said: Locked<[String]>, _ wanted: Int, _ present: Int, _ holder: String) -> Bool {
                let parts = ["\"tandem.shares\": \(wanted)", "\"tandem.shares.present\": \(present)", "\"tandem.relays\": \(holder)"]
                return said.withLock { lines in lines.contains { line in parts.allSatisfy { line.contains($0) } } }
            }
            let other = try test.another { $0.logger = Logger(label: "tests") { _ in KeptLog(said) } }
            let back = try test.another { $0.logger = Logger(label: "tests") { _ in KeptLog(late) } }
            defer {
                other.close()
                back.close()
            }
            let old = try relay(test.cluster, 1, journal), new = try relay(other, 3, journal), again = try relay(back, 1, journal)
            let first = Task { try await old.run() }
            defer { first.cancel() }
            try await publish(1)
            try await wait(for: "the first ones") { journal.distinct == 12 }
            let holder = try await test.value("n1", "SELECT holder FROM tandem.outbox_sink") ?? "nobody"
            try await running({ try await new.run() }) {
                try await wait(for: "what it waits for") { hasSaid(said, 3, 1, holder) }
                try await publish(2)
                try await wait(for: "events by the old one") { journal.distinct == 24 }
                #expect(try await shares(test) == 1)
                #expect(journal.state.withLock { $0.lanes } == ["test"] && journal.state.withLock { $0.strays } == 0)

                first.cancel()
                try await first.value
                try await waitForShares(3, test)
                try await publish(3)
                try await wait(for: "events by the new one") { journal.distinct == 36 }
                #expect(journal.state.withLock { $0.lanes } == ["test", "test#1", "test#2"])
                try await wait(for: "all its leases") { try await test.count("n1", "tandem.outbox_sink WHERE until > clock_timestamp()") == 3 }

                let epochs = "SELECT string_agg(epoch::text, ',' ORDER BY share) FROM tandem.outbox_sink"
                let before = try await test.value("n1", epochs),
                    successor = try await test.value("n1", "SELECT min(holder) FROM tandem.outbox_sink") ?? "nobody"
                try await running({ try await again.run() }) {
                    try await wait(for: "what the old number waits for") { hasSaid(late, 1, 3, successor) }
                    try await publish(4)
                    try await wait(for: "events all the same") { journal.distinct == 48 }
                    #expect(try await test.value("n1", epochs) == before)
                }
            }
            #expect(journal.kept.count == 48)
            expectWhole(journal.kept, 48)
        }
    }

    @Test(
        "a sink is divided when its shares stand at one place, and not while a window is being opened; then all old leases are void, in a share that comes back, too"
    )
    func fenced() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let session = try await test.session("n1"), late = try await test.session("n1")
            func open(_ share: Int, _ epoch: Int, joining: Bool = false, by session: RawSession) async throws -> String? {
                let number = try await session.value("SELECT number FROM tandem.outbox_position('s', \(share)::int2)") ?? ""
                return try await session.value("SELECT outcome FROM tandem.outbox_open('s', \(share)::int2, \(epoch), \(number), NULL, \(joining))")
            }
            func confirm(_ share: Int, _ epoch: Int) async throws -> String? {
                try await session.value(
                    "SELECT tandem.outbox_acknowledge('s', \(share)::int2, \(epoch), number, last_seq) FROM tandem.outbox_position('s', \(share)::int2)")
            }
            func divide(into shares: Int) async throws -> String? { try await session.value("SELECT tandem.outbox_divide('s', 'x', \(shares)::int2)") }
            func claimAll(into shares: Int) async throws -> String? {
                try await session.value(
                    "SELECT string_agg(epoch::text, ',' ORDER BY share) FROM tandem.outbox_claim_all('s', 'x', '1 hour', \(shares)::int2)")
            }
            func publish() async throws { try await session.run("SELECT tandem.publish('t', 'k', '1')") }
            /// Ends the window of share 0, and brings share 1 there.
            func join() async throws {
                #expect(try await confirm(0, 1) == "t")
                #expect(try await open(1, 2, joining: true, by: session) == "opened")
                #expect(try await confirm(1, 2) == "t")
            }

            try await session.run("SELECT tandem.outbox_add_sink('s', 2::int2, true)")
            #expect(try await session.value("SELECT epoch FROM tandem.outbox_claim('s', 1::int2, 'y', '1 hour', 2::int2)") == "1")
            #expect(try await claimAll(into: 3) == nil, "somebody has a lease")
            try await session.run("UPDATE tandem.outbox_sink SET until = '-infinity'")
            #expect(try await claimAll(into: 2) == nil, "they are two already")
            #expect(try await claimAll(into: 3) == "1,2")

            for _ in 0..<2 {
                try await publish()
                #expect(try await open(1, 2, by: session) == "opened")
                #expect(try await divide(into: 3) == "f", "the window is not confirmed")
                #expect(try await confirm(1, 2) == "t")
            }
            #expect(try await divide(into: 3) == "f", "the other share stands elsewhere")
            #expect(try await open(1, 2, joining: true, by: session) == "quiet")
            #expect(try await open(0, 1, joining: true, by: session) == "opened")
            #expect(try await confirm(0, 1) == "t")
            #expect(try await open(0, 1, joining: true, by: session) == "quiet")

            // The window of share 0 would have a number below that of the new shares: only the lock tells of it.
            try await publish()
            try await late.run("BEGIN")
            #expect(try await open(0, 1, by: session) == "opened")
            try await join()
            try await publish()
            let number = try await session.value("SELECT number FROM tandem.outbox_position('s', 0::int2)") ?? ""
            #expect(try await late.value("SELECT outcome FROM tandem.outbox_open('s', 0::int2, 1, \(number))") == "opened")
            let dividing = Task { try await session.value("SELECT tandem.outbox_divide('s', 'x', 3::int2)") }
            try await wait(for: "the wait for the window") { try await test.waiting("n1") > 0 }
            try await late.run("COMMIT")
            #expect(try await dividing.value == "f", "it sees the window")
            try await join()
            #expect(try await divide(into: 3) == "t")

            try await publish()
            #expect(try await open(1, 2, by: session) == "fenced")
            #expect(try await confirm(1, 2) == "f")
            #expect(try await session.value("SELECT tandem.outbox_park('s', 1::int2, 2, 0, '{1}', 'parked', now(), 'x')") == "f")
            // Share 2 goes and comes back; whoever divides has the leases all along, so that nobody with another number comes in between.
            #expect(try await claimAll(into: 1) == "3,3,3")
            #expect(try await divide(into: 1) == "t")
            #expect(try await session.value("SELECT held_by FROM tandem.outbox_claim('s', 0::int2, 'y', '1 hour', 3::int2)") == "x")
            #expect(try await claimAll(into: 3) == "4")
            #expect(try await divide(into: 3) == "t")
            #expect(try await session.value("SELECT count(*) FROM tandem.outbox_sink WHERE holder = 'x' AND until > now() + interval '50 minutes'") == "3")
            #expect(try await open(2, 3, by: session) == "fenced")
            #expect(try await open(2, 5, by: session) == "opened")
            for session in [session, late] { await session.close() }
        }
    }

    @Test("a key of which an event waits goes on waiting in whichever share it is in, and then all of it comes in its order")
    func parked() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let journal = Journal(), outbox = Outbox(test.cluster, on: "n1")
            journal.state.withLock { $0.refuses = { $0.payload == Array("2".utf8) } }
            // In one share of four each, and not in the first one.
            #expect(try await test.value("n1", "SELECT concat(tandem.outbox_share('even', 0, 4::int2), tandem.outbox_share('a', 0, 4::int2))") == "31")
            func publish(_ number: Int) async throws {
                try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', '\(number % 2 == 0 ? "even" : "a")', '\(number)')")
            }
            var last = 0
            for shares in [1, 4, 1] {
                let relay = try relay(test.cluster, shares, journal) { $0.attempts = 2 }
                try await running({ try await relay.run() }) {
                    try await waitForShares(shares, test)
                    for _ in 0..<4 {
                        last += 1
                        try await publish(last)
                    }
                    try await wait(for: "the other key, and those that wait") {
                        let parked = try await outbox.parked()
                        return journal.texts == stride(from: 1, to: last, by: 2).map(String.init) && parked.count == last / 2 && parked[0].dueAt == nil
                    }
                    let astray = "tandem.outbox_parked WHERE share <> tandem.outbox_share(key, seq, \(shares)::int2)"
                    #expect(try await test.count("n1", astray) == 0)
                }
            }
            journal.state.withLock { $0.refuses = { _ in false } }
            let relay = try relay(test.cluster, 3, journal)
            try await running({ try await relay.run() }) {
                try await waitForShares(3, test)
                let count = try await outbox.retry(sink: "test")
                #expect(count == last / 2)
                try await publish(last + 2)
                try await wait(for: "all of the key") { journal.distinct == last + 1 }
            }
            #expect(journal.texts.filter { Int($0)?.isMultiple(of: 2) ?? false } == stride(from: 2, through: last + 2, by: 2).map(String.init))
        }
    }

    @Test("a relay that comes later is left half of the shares, and nothing is sent twice for it")
    func shared() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let journal = Journal(), another = try test.another(), producers = try await Producers(test)
            defer { another.close() }
            // So long that nobody loses it on a slow machine.
            let relays = [try relay(test.cluster, 4, journal) { $0.lease = .seconds(12) }, try relay(another, 4, journal) { $0.lease = .seconds(12) }]
            let held = """
                SELECT string_agg(n::text, ',' ORDER BY n) FROM (SELECT count(*) n FROM tandem.outbox_sink WHERE until > clock_timestamp() GROUP BY holder) x
                """
            try await running({ try await relays[0].run() }) {
                try await wait(for: "all shares with one") { try await test.value("n1", held) == "4" }
                let published = try await producers.publishing(4) {
                    try await wait(for: "events") { journal.distinct > 20 }
                    try await running({ try await relays[1].run() }) {
                        try await wait(for: "two shares each", within: Self.patience) { try await test.value("n1", held) == "2,2" }
                        journal.state.withLock { $0.lanes = [] }
                        try await wait(for: "events of each share", within: Self.patience) { journal.state.withLock { $0.lanes.count } == 4 }
                        #expect(try await test.value("n1", "SELECT string_agg(epoch::text, ',' ORDER BY epoch) FROM tandem.outbox_sink") == "1,1,2,2")
                        #expect(journal.state.withLock { $0.deliveries.count == $0.ids.count })
                    }
                }
                try await wait(for: "all events", within: Self.patience) { journal.distinct == published }
                expectWhole(journal.kept, published)
            }
        }
    }

    @Test("a relay whose sink takes nothing leaves a share to another relay, to which the sink does not matter")
    func unavailable() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let down = Journal(), journal = Journal(), another = try test.another()
            defer { another.close() }
            down.state.withLock { $0.down = [0, 1] }
            try await sql(try test.conninfo("n1"), "SELECT count(tandem.publish('t', NULL, i::text)) FROM generate_series(1, 40) i")
            let first = try relay(test.cluster, 2, down) { $0.lease = .seconds(12) }, second = try relay(another, 2, journal) { $0.lease = .seconds(12) }
            try await running({ try await first.run() }) {
                try await wait(for: "both shares with one") { try await test.count("n1", "tandem.outbox_sink WHERE until > clock_timestamp()") == 2 }
                try await running({ try await second.run() }) {
                    try await wait(for: "events of one share", within: Self.patience) { journal.distinct == 20 }
                    #expect(journal.state.withLock { $0.lanes.count } == 1)
                    #expect(try await Outbox(test.cluster, on: "n1").lag().map(\.led) == [2])
                }
            }
        }
    }

    @Test("a share that was asked for is free again when whoever asked goes, and is kept a moment for it when whoever has it goes")
    func asked() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let session = try await test.session("n1"), outbox = Outbox(test.cluster, on: "n1")
            func claim(_ share: Int, _ holder: String) async throws -> String? {
                try await session.value("SELECT concat(epoch, '/', held_by) FROM tandem.outbox_claim('test', \(share)::int2, '\(holder)', '1 hour', 2::int2)")
            }
            let asked = "tandem.outbox_sink WHERE asked_until > clock_timestamp()"
            try await session.run("SELECT tandem.outbox_add_sink('test', 2::int2, true)")
            for share in 0...1 { #expect(try await claim(share, "x") == "1/x") }
            let relay = try relay(test.cluster, 2, Journal())
            try await running({ try await relay.run() }) {
                try await wait(for: "a wish") { try await test.count("n1", asked) == 1 }
                #expect(try await outbox.lag().map { [$0.shares, $0.led] } == [[2, 2]])
            }
            #expect(try await test.count("n1", asked) == 0)
            #expect(try await test.count("n1", "tandem.outbox_sink WHERE holder = 'x' AND until > clock_timestamp()") == 2, "those of others stay")

            // It comes with a share, is asked for it by nobody, and y asks for another one.
            try await session.run("UPDATE tandem.outbox_sink SET until = '-infinity' WHERE holder = 'x'")
            let rich = try self.relay(test.cluster, 2, Journal())
            try await running({ try await rich.run() }) {
                try await wait(for: "both shares with one") {
                    try await test.count("n1", "tandem.outbox_sink WHERE holder <> 'x' AND until > clock_timestamp()") == 2
                }
                _ = try await claim(1, "y")
                #expect(try await test.count("n1", "\(asked) AND asked_by = 'y'") == 1)
            }
            #expect(try await test.count("n1", "tandem.outbox_sink WHERE asked_by = 'y' AND asked_until > clock_timestamp() + interval '1 minute'") == 0)
            #expect(try await claim(1, "y") == "3/y")
            await session.close()
        }
    }

    @Test("lag is one row a sink; a replay goes back in every share, a sink that is removed has none left, and events without a key are spread")
    func lookedAfter() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let journal = Journal(), outbox = Outbox(test.cluster, on: "n1"), relay = try relay(test.cluster, 3, journal)
            try await sql(try test.conninfo("n1"), "SELECT count(tandem.publish('t', NULL, i::text)) FROM generate_series(1, 30) i")
            try await running({ try await relay.run() }) {
                try await wait(for: "all") { journal.distinct == 30 }
                #expect(journal.state.withLock { $0.lanes } == ["test", "test#1", "test#2"] && journal.state.withLock { $0.strays } == 0)
                try await wait(for: "no lag") { try await outbox.lag().map(\.events) == [0] }
                let lag = try await outbox.lag()
                #expect(lag.map(\.sink) == ["test"] && lag[0].relay?.contains(",") == false)
                #expect(lag[0].shares == 3 && lag[0].led == 3)
                // As if the history were older.
                try await test.value("n1", "UPDATE tandem.outbox_history SET at = at - interval '1 hour', snapshot = '3:3:', seq = 0")
                let sent = journal.deliveries.count
                _ = try await outbox.replay(sink: "test", since: .seconds(60))
                try await wait(for: "all again") { journal.deliveries.count == sent + 30 }
                #expect(journal.kept.count == 60, "they have new places")
                try await wait(for: "no lag") { try await outbox.lag().map(\.events) == [0] }
            }
            journal.state.withLock { $0.down = [2] }
            let behind = try self.relay(test.cluster, 3, journal)
            try await running({ try await behind.run() }) {
                try await sql(try test.conninfo("n1"), "SELECT count(tandem.publish('t', NULL, i::text)) FROM generate_series(31, 60) i")
                try await wait(for: "those of two shares") { journal.distinct == 50 }
                try await wait(for: "the share that is furthest behind") { try await outbox.lag().map(\.events) == [30] }
            }
            #expect(try await outbox.remove(sink: "test"))
            #expect(try await shares(test) == 0)
            #expect(try await outbox.lag().isEmpty)
            let error = await refusal { try await outbox.replay(sink: "test", since: .seconds(1)) }
            #expect(error?.code == .notFound)
        }
    }

    @Test("many events of other shares are looked at in parts, and what is behind them comes all the same")
    func foreign() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let journal = Journal(), session = try await test.session("n1")
            #expect(try await session.value("SELECT concat(tandem.outbox_share('even', 0, 4::int2), tandem.outbox_share('a', 0, 4::int2))") == "31")
            // Numbers count, not events: most of these were taken and thrown away.
            for (number, key) in ["a", "a", "even", "a"].enumerated() {
                try await session.run("SELECT tandem.publish('t', '\(key)', '\(number + 1)')")
                try await session.run("SELECT count(nextval('tandem.outbox_seq')) FROM generate_series(1, 150000)")
            }
            try await session.run("SELECT tandem.outbox_add_sink('s', 4::int2, true)")
            try await session.run("SELECT tandem.outbox_claim('s', 3::int2, 'x', '1 hour', 4::int2)")
            let number = try await session.value("SELECT number FROM tandem.outbox_position('s', 3::int2)") ?? ""
            #expect(try await session.value("SELECT outcome FROM tandem.outbox_open('s', 3::int2, 1, \(number))") == "opened")
            func read(_ place: String) async throws -> [String?] {
                try await session.run(
                    "SELECT seq, convert_from(payload, 'UTF8') FROM tandem.outbox_read('s', 3::int2, \(number)::int8 + 1, \(place), 10, 100000)"
                ).flatMap { $0 }
            }
            let first = try await read("0")
            #expect(first.count == 2 && first[1] == nil, "there is none of its own")
            let second = try await read(try #require(first[0]))
            #expect(second.count == 4 && second[1] == "3" && second[3] == nil)
            #expect(try await read(try #require(second[2])) == [])
            let relay = try relay(test.cluster, 4, journal)
            try await running({ try await relay.run() }) {
                try await wait(for: "all") { journal.distinct == 4 }
                try await wait(for: "no lag") { try await Outbox(test.cluster, on: "n1").lag().first { $0.sink == "test" }?.events == 0 }
            }
            await session.close()
        }
    }

    @Test(
        "a late transaction's events of other shares are looked at in parts, too, and so are those that are not in the window, whatever the number of shares",
        arguments: [4, 1])
    func late(shares: Int) async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let session = try await test.session("n1"), late = try await test.session("n1"), share = shares == 4 ? 3 : 0
            try await session.run("SELECT tandem.outbox_add_sink('s', \(shares)::int2, true)")
            try await session.run("SELECT tandem.outbox_claim('s', \(share)::int2, 'x', '1 hour', \(shares)::int2)")
            func open() async throws -> String {
                let number = try await session.value("SELECT number FROM tandem.outbox_position('s', \(share)::int2)") ?? ""
                #expect(try await session.value("SELECT outcome FROM tandem.outbox_open('s', \(share)::int2, 1, \(number))") == "opened")
                return "\(number)::int8 + 1"
            }
            /// What a window brings, read until it ends, and how often only a number came.
            func read(_ window: String) async throws -> (texts: [String], last: String, empty: Int) {
                var texts: [String] = [], last = "0", empty = 0, goesOn = true
                while goesOn {
                    let rows = try await session.run(
                        "SELECT seq, convert_from(payload, 'UTF8') FROM tandem.outbox_read('s', \(share)::int2, \(window), \(last), 10, 100000)")
                    texts += rows.compactMap { $0[1] }
                    last = rows.last?[0] ?? last
                    goesOn = rows.last.map { $0[1] == nil } ?? false
                    if rows.count == 1, goesOn { empty += 1 }
                }
                return (texts, last, empty)
            }
            try await late.run("BEGIN")
            for number in 1...2 {
                try await late.run("SELECT tandem.publish('t', 'a', '\(number)')")
                try await late.run("SELECT count(nextval('tandem.outbox_seq')) FROM generate_series(1, 250000)")
            }
            try await session.run("SELECT tandem.publish('t', 'even', '3')")
            let window = try await open()
            // From now on its events are seen, and are not of this window.
            try await late.run("COMMIT")
            let first = try await read(window)
            #expect(first.texts == ["3"] && first.empty == 2, "\(first)")
            #expect(try await session.value("SELECT tandem.outbox_acknowledge('s', \(share)::int2, 1, \(window), \(first.last))") == "t")
            try await session.run("SELECT tandem.publish('t', 'even', '4')")
            let second = try await read(try await open())
            #expect(second.texts == (shares == 4 ? ["4"] : ["1", "2", "4"]) && second.empty == (shares == 4 ? 2 : 0), "\(second)")
            for session in [session, late] { await session.close() }
        }
    }

    @Test("one sink for several shares is refused, as is a number that cannot be")
    func refused() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            var options = RelayOptions()
            options.shares = 2
            let single = await refusal { try OutboxRelay(test.cluster, from: "n1", to: "test", RecordingSink(), options: options) }
            #expect(single?.code == .configurationInvalid)
            for shares in [0, 65] {
                let error = await refusal { try relay(test.cluster, shares, Journal()) }
                #expect(error?.code == .configurationInvalid)
            }
        }
    }
}
