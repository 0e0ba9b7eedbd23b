import TandemCluster
import TandemCore
import TandemInbox
import TandemMessaging
import TandemOutbox
import TandemPostgres
import TandemTestSupport
import TandemTransactions
import Testing

/// A sink in memory that knows the numbers that came, in their order.
private final class NumberSink: Sink {
    private let got = Locked<[Int]>([])

    var numbers: [Int] { got.withLock { $0 } }

    func deliver(_ batch: [Delivery]) async throws -> [DeliveryVerdict] {
        let numbers = batch.compactMap { Int(String(decoding: $0.event.payload, as: UTF8.self)) }
        got.withLock { $0 += numbers }
        return [DeliveryVerdict](repeating: .delivered, count: batch.count)
    }

    func close() async {}
}

/// The inbox of n1, which a test may take down.
private final class GatedInbox: Sink {
    private let inbox: InboxSink
    private let isOpen = Locked(true)

    init(_ cluster: Cluster) { inbox = InboxSink(cluster, on: "n1", queue: "copies") }

    func open(_ isOpen: Bool) { self.isOpen.withLock { $0 = isOpen } }

    func deliver(_ batch: [Delivery]) async throws -> [DeliveryVerdict] {
        guard isOpen.withLock({ $0 }) else { throw TandemError(.sinkUnavailable, "down", nextStep: "wait") }
        return try await inbox.deliver(batch)
    }

    func close() async {}
}

/// Case 11: the node whose outbox is read is replaced by its standby. Each event has a cause, a row of its own transaction: without one on the new primary it is a phantom.
@Suite("A standby that takes over from a node with an outbox", .serialized)
struct OutboxFailoverTests {
    private static let patience = Duration.seconds(120)

    private func withNodes(_ body: @escaping @Sendable (ReplicatedCluster) async throws -> Void) async throws {
        try await ReplicatedCluster.with { replicated in
            _ = try await Initialiser(replicated.configuration, modules: [.outbox, .inbox]).run()
            try await sql(replicated.configuration.nodes[1].conninfo, "CREATE TABLE cause (number int PRIMARY KEY)")
            try await sql(replicated.configuration.nodes[0].conninfo, "CREATE TABLE effect (place serial, number int, key text)")
            try await body(replicated)
        }
    }

    /// Runs a relay of n2 while the body runs; it is never told of the failover.
    private func relaying<Value>(_ replicated: ReplicatedCluster, to sink: any Sink, _ body: () async throws -> Value) async throws -> Value {
        var options = RelayOptions()
        options.poll = .milliseconds(20)
        options.isFromStart = true
        options.wait = .milliseconds(5)
        options.longestWait = .milliseconds(200)
        options.lease = .seconds(60)
        let relay = try OutboxRelay(replicated.cluster, from: "n2", to: "copies", sink, options: options)
        return try await running({ try await relay.run() }, body)
    }

    /// Publishes a number with its cause on whichever server is the primary, and returns when that is acknowledged.
    private func publish(_ number: Int, key: String = "k", _ replicated: ReplicatedCluster) async throws {
        try await wait(for: "the event \(number)", within: Self.patience) {
            do {
                try await replicated.cluster["n2"].transaction { branch in
                    // After a lost answer it may be there.
                    guard try await branch.execute("INSERT INTO cause (number) VALUES (\(number)) ON CONFLICT DO NOTHING") == 1 else { return }
                    try await branch.publish(topic: "t", key: key, payload: number)
                }
                return true
            } catch is TandemError {
                return false
            }
        }
    }

    private func readCauses(_ replicated: ReplicatedCluster) async throws -> [Int] {
        let text = try await sql(replicated.configuration.nodes[1].conninfo, "SELECT string_agg(number::text, ',' ORDER BY number) FROM cause")
        return (text ?? "").split(separator: ",").compactMap { Int($0) }
    }

    private func queue(_ replicated: ReplicatedCluster) async throws -> [Int] {
        try await replicated.cluster["n1"].query("SELECT convert_from(payload, 'UTF8')::int FROM tandem.inbox_queue ORDER BY place", as: Int.self)
    }

    private func value(_ replicated: ReplicatedCluster, _ text: String) async throws -> String? {
        try await sql(replicated.configuration.nodes[1].conninfo, text)
    }

    /// Sees that the outbox takes the new timeline for its own: whoever relays next does it, where the last one has had no cause to ask for its lease again.
    private func expectRenumbered(_ replicated: ReplicatedCluster) async throws {
        try await relaying(replicated, to: NumberSink()) {
            try await wait(for: "the new timeline", within: Self.patience) {
                try await value(replicated, "SELECT timeline || ' ' || tandem.outbox_check() FROM tandem.outbox_settings") == "2 same"
            }
        }
    }

    private func caughtUp(_ replicated: ReplicatedCluster) async throws {
        try await wait(for: "the note of what was sent", within: Self.patience) {
            try await Outbox(replicated.cluster, on: "n2").lag().allSatisfy { $0.events == 0 }
        }
    }

    @Test("case 11: nothing is sent that a synchronous standby does not have, whatever its publisher waited for; the relay goes on with the standby by itself")
    func gate() async throws {
        try await withNodes { replicated in
            let sink = NumberSink()
            try await relaying(replicated, to: sink) {
                for number in 1...3 { try await publish(number, replicated) }
                try await wait(for: "the first ones") { sink.numbers == [1, 2, 3] }
                try await caughtUp(replicated)
                try await replicated.synchronise()
                try await replicated.cutReplication()
                // They commit without the standby, are there for everybody to see, and will be gone.
                let two = replicated.configuration.nodes[1].conninfo
                for number in 4...5 {
                    try await sql(
                        two, "SET synchronous_commit = local", "BEGIN", "INSERT INTO cause VALUES (\(number))", "SELECT tandem.publish('t', 'k', '\(number)')",
                        "COMMIT")
                }
                try await wait(for: "the window that waits for the standby") {
                    try await value(replicated, "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query LIKE '%outbox_open%'") == "1"
                }
                #expect(try await readCauses(replicated) == [1, 2, 3, 4, 5] && sink.numbers == [1, 2, 3])
                try await replicated.failOver()
                for number in 6...7 { try await publish(number, replicated) }
                try await wait(for: "the new ones", within: Self.patience) { Set(sink.numbers).isSuperset(of: [6, 7]) }
            }
            // No phantom, and no loss.
            let left = try await readCauses(replicated)
            #expect(left == [1, 2, 3, 6, 7] && Set(sink.numbers) == Set(left))
            try await expectRenumbered(replicated)
        }
    }

    @Test(
        "case 11: a synchronous standby takes over under load: each event that was acknowledged has its effect once, in the order of its key, and none is without a cause"
    )
    func underLoad() async throws {
        try await withNodes { replicated in
            try await replicated.synchronise()
            let acknowledged = Locked(0), isOver = Locked(false)
            var options = InboxConsumer.Options()
            options.poll = .milliseconds(20)
            // The window in progress comes again under new places: its messages are known by their ids.
            let consumer = InboxConsumer(replicated.cluster, on: "n1", queue: "copies", options: options) { message, branch in
                guard try await branch.receive(message.event.id, by: "effects") else { return }
                let number = String(decoding: message.event.payload, as: UTF8.self)
                try await branch.execute("INSERT INTO effect (number, key) VALUES (\(number)::int, \(message.event.key))")
            }
            try await running({ try await consumer.run() }) {
                try await relaying(replicated, to: InboxSink(replicated.cluster, on: "n1", queue: "copies")) {
                    try await withThrowingTaskGroup(of: Void.self) { group in
                        for publisher in 0..<3 {
                            group.addTask {
                                var number = publisher
                                while !isOver.withLock({ $0 }) {
                                    try await publish(number, key: "k\(publisher)", replicated)
                                    acknowledged.withLock { $0 += 1 }
                                    number += 3
                                }
                            }
                        }
                        try await wait(for: "events before", within: Self.patience) { acknowledged.withLock { $0 } >= 100 }
                        try await replicated.failOver()
                        let before = acknowledged.withLock { $0 }
                        try await wait(for: "events after", within: Self.patience) { acknowledged.withLock { $0 } >= before + 100 }
                        isOver.withLock { $0 = true }
                        try await group.waitForAll()
                    }
                    let all = acknowledged.withLock { $0 }
                    try await wait(for: "all effects", within: Self.patience) {
                        try await sql(replicated.configuration.nodes[0].conninfo, "SELECT count(DISTINCT number) FROM effect") == "\(all)"
                    }
                    try await caughtUp(replicated)
                    try await wait(for: "an empty queue") { try await queue(replicated).isEmpty }
                }
            }
            let effects = try await replicated.cluster["n1"].query("SELECT number, key FROM effect ORDER BY place", as: Int.self, String.self)
            #expect(effects.count == acknowledged.withLock { $0 })
            let kept = try await readCauses(replicated)
            #expect(effects.map(\.0).sorted() == kept)
            for (key, numbers) in Dictionary(grouping: effects, by: \.1).mapValues({ $0.map(\.0) }) { #expect(numbers == numbers.sorted(), "key \(key)") }
            try await expectRenumbered(replicated)
        }
    }

    @Test(
        "case 11: an asynchronous standby that missed the last commits makes phantoms of them, as promised; what it has is sent, and nothing new is taken for old"
    )
    func phantoms() async throws {
        try await withNodes { replicated in
            let sink = GatedInbox(replicated.cluster)
            try await relaying(replicated, to: sink) {
                for number in 1...3 { try await publish(number, replicated) }
                try await wait(for: "the first ones") { try await queue(replicated) == [1, 2, 3] }
                try await caughtUp(replicated)
                // The standby has these two, and no word of their being sent.
                sink.open(false)
                for number in 4...5 { try await publish(number, replicated) }
                try await replicated.cutReplication()
                sink.open(true)
                // And it has nothing of these, each of which is in a window of its own: the next numbers of windows are used.
                for number in 6...8 {
                    try await publish(number, replicated)
                    try await wait(for: "the event \(number) at its sink", within: Self.patience) { try await queue(replicated).last == number }
                }
                #expect(try await queue(replicated) == Array(1...8))
                try await replicated.failOver()
                #expect(try await readCauses(replicated) == Array(1...5))
                for number in 9...11 {
                    try await publish(number, replicated)
                    try await wait(for: "the event \(number), which is new", within: Self.patience) { try await queue(replicated).contains(number) }
                }
                try await caughtUp(replicated)
            }
            let brought = try await queue(replicated), kept = try await readCauses(replicated)
            #expect(kept == Array(1...5) + Array(9...11))
            // docs/guarantees.md: none of those that are there is lost, those that are gone may have been sent.
            #expect(Set(brought).isSuperset(of: kept) && Set(brought).subtracting(kept) == [6, 7, 8])
            // Only what was not noted comes again.
            #expect(brought == Array(1...8) + [4, 5] + Array(9...11))
            try await expectRenumbered(replicated)
        }
    }
}
