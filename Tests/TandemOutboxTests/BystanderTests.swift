import Foundation
import TandemCluster
import TandemCore
import TandemMessaging
import TandemOutbox
import TandemPostgres
import TandemTestSupport
import TandemTransactions
import Testing

/// A sink that counts how often each number has come, and keeps nothing else.
private final class TallySink: Sink {
    private struct Tally {
        var counts: [Int32]
        var distinct = 0
    }

    private let tally: Locked<Tally>

    init(_ number: Int) { tally = Locked(Tally(counts: [Int32](repeating: 0, count: number))) }

    /// How many numbers have come.
    var distinct: Int { tally.withLock { $0.distinct } }
    var isEachOnce: Bool { tally.withLock { $0.counts.allSatisfy { $0 == 1 } } }

    func deliver(_ batch: [Delivery]) async throws -> [DeliveryVerdict] {
        tally.withLock { tally in
            for delivery in batch {
                guard let number = Int(String(decoding: delivery.event.payload, as: UTF8.self)), tally.counts.indices.contains(number) else { continue }
                if tally.counts[number] == 0 { tally.distinct += 1 }
                tally.counts[number] += 1
            }
        }
        return [DeliveryVerdict](repeating: .delivered, count: batch.count)
    }

    func close() async {}
}

// Cases 3 and 5: what takes long and has nothing to do with the events. A sixtieth of ten and thirty minutes in `make test`, all in `make soak`.

@Suite("Transactions that stay open hold up no events")
struct BystanderTests {
    private static let patience = Duration.seconds(Soak.count(3600) + 90)
    /// Events a second.
    private static let rate = 2000

    /// Publishes the numbers of a range, twenty a transaction, from four tasks, each number when it is its turn.
    private func publish(_ range: Range<Int>, since begin: ContinuousClock.Instant, on cluster: Cluster) async throws {
        let each = 20, producers = 4
        try await withThrowingTaskGroup(of: Void.self) { group in
            for producer in 0..<producers {
                group.addTask {
                    for start in stride(from: range.lowerBound + producer * each, to: range.upperBound, by: producers * each) {
                        let last = min(start + each, range.upperBound) - 1
                        while ContinuousClock.now < begin + .milliseconds(start * 1000 / Self.rate) { await tick() }
                        try await cluster["n1"].execute(
                            "SELECT count(tandem.publish('t', 'k' || (i % 7), i::text)) FROM generate_series(\(start)::int, \(last)::int) i")
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    /// Publishes for so long, leaves a slot of the ring after each tenth of it, and waits until the sink has everything and says so.
    ///
    /// - Parameters:
    ///   - number: how many events.
    ///   - sink: where they come.
    ///   - ring: the ring.
    ///   - cluster: who publishes.
    ///   - limit: the most seconds that the sink may be behind at any moment, where a case names them.
    /// - Throws: what the cluster throws; `TestFailure`.
    private func publishAll(_ number: Int, _ sink: TallySink, _ ring: TightRing, on cluster: Cluster, lagBelow limit: Double? = nil) async throws {
        try await wait(for: "the sink to be known") { try await Outbox(cluster, on: "n1").lag().count == 1 }
        let begin = ContinuousClock.now, lags = Locked<[Double]>([])
        let watch = Task {
            while !Task.isCancelled {
                do {
                    let seconds = try await Outbox(cluster, on: "n1").lag().map(\.seconds).max()
                    lags.withLock { $0.append(seconds ?? .infinity) }
                } catch is CancellationError {
                    return
                }
                for _ in 0..<50 where !Task.isCancelled { await tick() }
            }
        }
        defer { watch.cancel() }
        for part in 0..<10 {
            try await publish(part * number / 10..<(part + 1) * number / 10, since: begin, on: cluster)
            _ = try await ring.keepHouse()
        }
        try await wait(for: "all events", within: Self.patience) { sink.distinct == number }
        if Soak.isWhole {
            let published = Duration.seconds(number / Self.rate)
            let (looks, longest) = lags.withLock { ($0.count, $0.max() ?? .infinity) }
            #expect(looks > number / Self.rate && longest < limit ?? .infinity, "the lag, looked at \(looks) times: \(longest) s")
            let time = ContinuousClock.now - begin
            #expect(time < published / 0.95, "the throughput: \(time) for \(published)")
        }
        watch.cancel()
        try await watch.value
        try await wait(for: "no lag") { try await Outbox(cluster, on: "n1").lag().allSatisfy { $0.events == 0 && $0.seconds == 0 } }
        // Each part left the slot that it found; with seven of them no empty one is left, unless some were emptied.
        #expect(try await ring.lap() >= 7)
    }

    /// Gives the body the gid of a transaction that somebody has prepared in another database of the server and forgotten.
    private func withOrphan(_ test: TestCluster, _ body: (String) async throws -> Void) async throws {
        let other = "\(test.database)_other", gid = "\(test.database) orphan", place = try test.superuser("n1") + " dbname='\(other)'"
        try await test.value("n1", "CREATE DATABASE \(other)")
        do {
            try await sql(place, "CREATE TABLE orphaned (id int)", "BEGIN", "INSERT INTO orphaned VALUES (1)", "PREPARE TRANSACTION '\(gid)'")
            try await body(gid)
            try await sql(place, "ROLLBACK PREPARED '\(gid)'")
            try await test.value("n1", "DROP DATABASE \(other) WITH (FORCE)")
        } catch {
            _ = try? await sql(place, "ROLLBACK PREPARED '\(gid)'")
            _ = try? await test.value("n1", "DROP DATABASE \(other) WITH (FORCE)")
            throw error
        }
    }

    @Test("case 3: what is prepared in another database of the server, and decided by nobody, holds up no event and keeps no slot")
    func orphan() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let number = Soak.count(600 * Self.rate), ring = try await TightRing(test), sink = TallySink(number)
            try await withOrphan(test) { gid in
                try await relaying(test.cluster, to: sink) {
                    try await publishAll(number, sink, ring, on: test.cluster, lagBelow: 1)
                    // It is in every snapshot, and in nobody's way.
                    try await ring.empty(within: Self.patience)
                    let isListed =
                        "SELECT x.xid IS NOT NULL FROM pg_prepared_xacts p LEFT JOIN pg_snapshot_xip(pg_current_snapshot()) x (xid) "
                        + "ON x.xid::text = p.transaction::text WHERE p.gid = '\(gid)'"
                    #expect(try await test.value("n1", isListed) == "t", "it is there to the end")
                }
            }
            #expect(sink.isEachOnce)
        }
    }

    /// Rows that are dead, and were inserted, in the tables that are written for each event and each window; and the windows.
    private func rows(_ test: TestCluster) async throws -> (dead: Int, inserted: Int, windows: Int) {
        let text = try await test.value(
            "n1",
            """
            SELECT concat_ws(' ', sum(n_dead_tup), sum(n_tup_ins), sum(n_tup_ins) FILTER (WHERE relname = 'outbox_window')) FROM pg_stat_user_tables
            WHERE schemaname = 'tandem' AND (relname ~ '^outbox_[0-7]$' OR relname IN ('outbox_window', 'outbox_ack', 'outbox_sink', 'outbox_parked'))
            """)
        let numbers = (text ?? "").split(separator: " ").compactMap { Int($0) }
        guard numbers.count == 3 else { throw TestFailure("no statistics: \(text ?? "")") }
        return (numbers[0], numbers[1], numbers[2])
    }

    @Test(
        "case 5: while a REPEATABLE READ reader stays, events arrive and leave no dead rows; a slot that it has read is kept, and it is named",
        arguments: ["account", "tandem.outbox"])
    func reader(_ table: String) async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            // What sessions have counted is known when they are over: so nobody but these uses the node.
            let number = Soak.count(1800 * Self.rate), cluster = try test.another(), ring = try await TightRing(test, cluster), sink = TallySink(number)
            defer { cluster.close() }
            let reader = try await test.session("n1")
            try await reader.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
            try await reader.run("SELECT count(*) FROM \(table)")
            try await relaying(cluster, to: sink) {
                try await publishAll(number, sink, ring, on: cluster)
                if table == "account" {
                    // Its snapshot is older than all events; that keeps no slot.
                    try await ring.empty(within: Self.patience)
                } else {
                    try await wait(for: "the reader to be named, and nobody else", within: Self.patience) {
                        let state = try await ring.keepHouse()
                        return state.blockers == ["pid \(reader.backend)"] && state.free == 0
                    }
                }
            }
            #expect(sink.isEachOnce)
            cluster.close()
            try await wait(for: "the end of all sessions") {
                try await test.count("n1", "pg_stat_activity WHERE datname = current_database() AND usename = 'tandem'") == 0
            }
            // No vacuum could take them away as long as the reader is there.
            let found = try await rows(test)
            #expect(found.inserted >= number && found.windows > 10, "\(found)")
            #expect(found.dead < 1000 && found.dead * 2 < found.windows, "\(found)")
            try await reader.run("COMMIT")
            await reader.close()
            if table != "account" {
                let again = try test.another()
                defer { again.close() }
                try await TightRing(test, again).empty(within: Self.patience)
            }
        }
    }
}
