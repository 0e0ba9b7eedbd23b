import Foundation
import TandemCluster
import TandemCore
import TandemMessaging
import TandemOutbox
import TandemPostgres
import TandemTestSupport
import TandemTransactions
import Testing

/// A ring whose slots are left at once and keep nothing for replays, and the connection of whoever looks after it.
struct TightRing: Sendable {
    private let test: TestCluster
    private let outbox: Outbox

    /// Of the node n1.
    init(_ test: TestCluster, _ cluster: Cluster? = nil) async throws {
        self.test = test
        outbox = Outbox(cluster ?? test.cluster, on: "n1")
        try await test.value("n1", "UPDATE tandem.outbox_settings SET keep = '0', slot_bytes = 0")
    }

    /// Keeps house, as if the ten seconds from one entry of the history to the next were over.
    func keepHouse() async throws -> OutboxRing {
        try await test.value("n1", "DELETE FROM tandem.outbox_history")
        return try await outbox.keepHouse()
    }

    /// The lap of the ring; its lowest three bits are the slot.
    func lap() async throws -> Int { Int(try await test.value("n1", "SELECT last_value >> 36 FROM tandem.outbox_seq") ?? "") ?? -1 }

    /// Keeps house until all slots but the present one are empty and nobody is in the way.
    func empty(within limit: Duration = .seconds(60)) async throws {
        try await wait(for: "an empty ring", within: limit) {
            let state = try await keepHouse()
            return state.free == 7 && state.blockers.isEmpty
        }
    }
}

/// Runs a relay from n1 to a sink while the body runs.
func relaying<Value>(
    _ cluster: Cluster, to sink: any Sink, as name: String = "test", _ change: (inout RelayOptions) -> Void = { _ in }, _ body: () async throws -> Value
) async throws -> Value {
    var options = RelayOptions()
    options.poll = .milliseconds(20)
    options.isFromStart = true
    options.wait = .milliseconds(5)
    options.longestWait = .milliseconds(50)
    options.lease = .seconds(60)
    change(&options)
    let relay = try OutboxRelay(cluster, from: "n1", to: name, sink, options: options)
    return try await running({ try await relay.run() }, body)
}

@Suite("Events are removed by emptying a slot of the ring")
struct RingTests {
    private static let patience = Duration.seconds(Soak.count(600) + 90)

    private func publish(_ session: RawSession, _ number: Int) async throws { try await session.run("SELECT tandem.publish('t', 'k', '\(number)')") }

    @Test("case 6: a slot that an open and a prepared transaction hold is not emptied, both are named, and nobody who publishes waits; then it is used again")
    func held() async throws {
        // Only housekeeping's own limit is short: without it, the server would end the attempt to lock the slot with an error.
        try await withCluster(1, modules: [.outbox], { $0.nodes[0].lockTimeout = .seconds(300) }) { test in
            let ring = try await TightRing(test), sink = RecordingSink(), gid = "\(test.database) ring"
            try await relaying(test.cluster, to: sink) {
                let late = try await test.session("n1"), open = try await test.session("n1"), publisher = try await test.session("n1")
                try await publisher.run("SET lock_timeout = '150ms'")
                // One has a number of the slot, and writes under it when the slot was left long ago.
                try await late.run("BEGIN")
                try await late.run("SELECT pg_current_xact_id()")
                let number = try await late.value("SELECT nextval('tandem.outbox_seq')") ?? ""
                try await open.run("BEGIN")
                try await publish(open, 1)
                try await sql(try test.superuser("n1"), "BEGIN", "SELECT tandem.publish('t', 'k', '2')", "PREPARE TRANSACTION '\(gid)'")
                try await publish(publisher, 3)
                var published = 3
                try await wait(for: "the one that has committed") { sink.texts == ["3"] }

                // A round and more: the slot is passed over each time, and the attempts to empty it disturb nobody.
                try await wait(for: "laps past the slot", within: Self.patience) {
                    async let state = ring.keepHouse()
                    for _ in 0..<5 {
                        published += 1
                        try await publish(publisher, published)
                    }
                    _ = try await state
                    return try await ring.lap() > 10
                }
                #expect(try await test.count("n1", "tandem.outbox_0 WHERE seq >> 36 > 0") == 0, "nobody writes to a slot that is not empty")
                let holders: Set = ["gid \(gid)", "pid \(open.backend)"]
                try await wait(for: "both to be named, and nobody else") { try await Set(ring.keepHouse().blockers) == holders }

                try await late.run(
                    "INSERT INTO tandem.outbox (seq, id, topic, key, content_type, payload) VALUES (\(number), gen_random_uuid(), 't', 'k', 'text/plain', '0')")
                for session in [late, open] { try await session.run("COMMIT") }
                try await test.value("n1", "COMMIT PREPARED '\(gid)'")
                try await wait(for: "all events") { sink.events.count >= published + 1 }
                try await wait(for: "the slot to be emptied") {
                    _ = try await ring.keepHouse()
                    return try await test.value("n1", "SELECT pg_relation_size('tandem.outbox_0')") == "0"
                }
                try await wait(for: "the slot to be used again") {
                    published += 1
                    try await publish(publisher, published)
                    _ = try await ring.keepHouse()
                    return try await test.count("n1", "tandem.outbox_0 WHERE seq >> 36 > 10") > 0
                }
                try await wait(for: "the last ones") { sink.events.count >= published + 1 }
                #expect(sink.events.count == published + 1 && Set(sink.texts) == Set((0...published).map(String.init)))
                for session in [late, open, publisher] { await session.close() }
            }
        }
    }

    @Test("case 6: a sink that is behind keeps its events and is named, others go on, and the present slot grows; what is merely young is in nobody's way")
    func behind() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let ring = try await TightRing(test), publisher = try await test.session("n1"), quick = RecordingSink(), slow = RecordingSink()
            slow.state.withLock { $0.isDown = true }
            var published = 0
            func publishOne() async throws {
                published += 1
                try await publish(publisher, published)
            }
            try await publishOne()
            try await wait(for: "a slot that is kept for whoever comes") { try await ring.keepHouse().blockers == ["no sink"] }
            try await relaying(test.cluster, to: quick, as: "quick") {
                try await relaying(test.cluster, to: slow, as: "slow") {
                    try await wait(for: "both sinks to be known") { try await test.count("n1", "tandem.outbox_sink") == 2 }
                    try await wait(for: "a ring without an empty slot") {
                        try await publishOne()
                        return try await ring.keepHouse().free == 0
                    }
                    let lap = try await ring.lap()
                    for _ in 0..<20 { try await publishOne() }
                    try await wait(for: "the other sink") { quick.events.count == published }
                    try await wait(for: "the sink to be named, and nobody else") {
                        let state = try await ring.keepHouse()
                        return state.blockers == ["sink slow"] && state.free == 0
                    }
                    #expect(try await ring.lap() == lap && slow.events.isEmpty)

                    slow.state.withLock { $0.isDown = false }
                    try await wait(for: "what was kept") { slow.events.count >= published }
                    #expect(slow.texts == (1...published).map(String.init) && quick.texts == slow.texts)
                    try await ring.empty()

                    try await test.value("n1", "UPDATE tandem.outbox_settings SET keep = '1 day'")
                    try await publishOne()
                    try await wait(for: "one more at both") { quick.events.count == published && slow.events.count == published }
                    try await wait(for: "a slot that stays for replays, and nobody named") {
                        let state = try await ring.keepHouse()
                        return state.free == 6 && state.blockers.isEmpty
                    }
                }
            }
            await publisher.close()
        }
    }

    @Test("case 6: the ring goes round and round under load, and each event arrives once, in the order of its key")
    func rounds() async throws {
        let laps = max(24, Soak.count(24 * 60)), keys = ["a", "b", "c"]
        try await withCluster(1, modules: [.outbox]) { test in
            let ring = try await TightRing(test), sink = RecordingSink(), isOver = Locked(false)
            try await sql(
                try test.conninfo("n1"), "CREATE TABLE keyed (key text PRIMARY KEY, version int)", "INSERT INTO keyed VALUES ('a', 0), ('b', 0), ('c', 0)")
            try await relaying(test.cluster, to: sink) {
                let published = try await withThrowingTaskGroup(of: Int.self) { group in
                    for producer in 0..<4 {
                        group.addTask {
                            var count = 0
                            while !isOver.withLock({ $0 }) {
                                let key = keys[(producer + count) % keys.count]
                                try await test.cluster["n1"].transaction { branch in
                                    let version = try await branch.query(
                                        "UPDATE keyed SET version = version + 1 WHERE key = \(key) RETURNING version", as: Int.self)[0]
                                    try await branch.publish(topic: "t", key: key, payload: version)
                                }
                                count += 1
                            }
                            return count
                        }
                    }
                    try await wait(for: "\(laps) laps", within: Self.patience) {
                        _ = try await ring.keepHouse()
                        return try await ring.lap() >= laps
                    }
                    isOver.withLock { $0 = true }
                    return try await group.reduce(0, +)
                }
                try await wait(for: "all events", within: Self.patience) { sink.events.count >= published }
                try await ring.empty()
                #expect(sink.events.count == published)
            }
            var versions: [String: [Int]] = [:]
            for event in sink.events { versions[event.key ?? "", default: []].append(Int(String(decoding: event.payload, as: UTF8.self)) ?? 0) }
            for (key, versions) in versions { #expect(versions == Array(1...versions.count), "key \(key)") }
        }
    }

    @Test("a rotation that is rolled back leaves the sinks' lag as it is, and the next one goes on with the ring")
    func rolledBack() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let ring = try await TightRing(test), outbox = Outbox(test.cluster, on: "n1"), session = try await test.session("n1"), sink = RecordingSink()
            try await relaying(test.cluster, to: sink) {
                try await publish(session, 1)
                try await wait(for: "the first one") { sink.texts == ["1"] }
                try await wait(for: "the note of it") { try await outbox.lag().map(\.events) == [0] }
            }
            try await session.run("BEGIN")
            #expect(try await session.value("SELECT entered FROM tandem.outbox_rotate()") == "1")
            #expect(try await outbox.lag().map(\.events) == [0], "in that moment")
            try await session.run("ROLLBACK")
            #expect(try await ring.lap() == 1, "a sequence is not rolled back")
            for number in 2...3 { try await publish(session, number) }
            let lag = try await outbox.lag()
            #expect(lag.count == 1 && lag[0].seconds > 0)
            _ = try await ring.keepHouse()
            #expect(try await outbox.lag().map(\.events) == [2])
            #expect(try await ring.lap() == 2)
            try await relaying(test.cluster, to: sink) {
                try await publish(session, 4)
                try await wait(for: "all") { sink.texts == ["1", "2", "3", "4"] }
                try await ring.empty()
            }
            await session.close()
        }
    }
}
