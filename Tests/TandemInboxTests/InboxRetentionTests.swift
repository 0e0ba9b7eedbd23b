import TandemCluster
import TandemCore
import TandemInbox
import TandemPostgres
import TandemTestSupport
import TandemTransactions
import Testing

@Suite("An inbox forgets what is old, and takes nothing of it for new")
struct InboxRetentionTests {
    /// Days since 1970, by the node's clock.
    private static let day = "(date_part('epoch', clock_timestamp())::bigint / 86400)::integer"

    /// Gives the body a node with an inbox, and a table of effects.
    private func withInbox(_ body: (TestCluster) async throws -> Void) async throws {
        try await withCluster(1, modules: [.inbox]) { test in
            try await sql(try test.superuser("n1"), "CREATE TABLE effect (id text)", "GRANT ALL ON effect TO tandem")
            try await body(test)
        }
    }

    /// A session of the role that programs have.
    private func connect(_ test: TestCluster) async throws -> RawSession { try await .open(try test.conninfo("n1")) }

    private func number(_ test: TestCluster, _ text: String) async throws -> Int {
        let value = try await test.value("n1", "SELECT \(text)")
        return try #require(value.flatMap { Int($0) })
    }

    private func today(_ test: TestCluster) async throws -> Int { try await number(test, Self.day) }

    private func floor(_ test: TestCluster) async throws -> Int { try await number(test, "last_value FROM tandem.inbox_floor") }

    /// As if the inbox had remembered all since that day, and nobody had looked after it meanwhile.
    private func remember(from day: Int, _ test: TestCluster) async throws { try await test.value("n1", "SELECT setval('tandem.inbox_floor', \(day))") }

    /// An id of version 7 of a day.
    private func id(_ day: Int, _ number: Int = 0) -> String {
        func hex(_ value: Int) -> String {
            let text = String(value, radix: 16)
            return String(repeating: "0", count: 12 - text.count) + text
        }
        let time = hex(day * 86_400_000 + 1)
        return "\(time.prefix(8))-\(time.suffix(4))-7000-8000-\(hex(number))"
    }

    // MARK: What programs call

    /// The first column of the answer, or the SQLSTATE of the refusal.
    private func answer(_ text: String, in session: RawSession) async throws -> [String] {
        do { return try await session.run(text).map { $0[0] ?? "NULL" } } catch let error as ServerError { return [error.sqlState.rawValue] }
    }

    private func receive(_ id: String, in session: RawSession) async throws -> String {
        try await answer("SELECT tandem.receive('c', '\(id)')", in: session).joined()
    }

    private func receive(_ ids: [String], in session: RawSession) async throws -> [String] {
        try await answer("SELECT outcome FROM tandem.receive_many('c', '{\(ids.joined(separator: ","))}')", in: session)
    }

    /// Receives a message in the transaction of its effect.
    private func handle(_ id: String, in session: RawSession) async throws -> String {
        try await answer("INSERT INTO effect SELECT '\(id)' WHERE tandem.receive('c', '\(id)') RETURNING 'done'", in: session).joined()
    }

    private func take(
        _ number: Int, _ seq: Int, of lane: Int = 0, from source: String = "s", by consumer: String = "c", in session: RawSession
    ) async throws -> String {
        try await answer("SELECT tandem.receive_in_order('\(consumer)', '\(source)', \(lane), \(number), \(seq))", in: session).joined()
    }

    /// Forgets once.
    ///
    /// - Returns: the slot that was emptied, and the one that somebody uses, with `/` between.
    private func forgetOnce(in session: RawSession) async throws -> String {
        try await answer("SELECT concat(emptied, '/', blocked) FROM tandem.inbox_forget()", in: session).joined()
    }

    /// Forgets until nothing more is to be forgotten.
    ///
    /// - Returns: the slots that were emptied.
    private func forget(_ keep: String = "", in session: RawSession) async throws -> [Int] {
        var slots: [Int] = []
        while let slot = try await session.value("SELECT emptied FROM tandem.inbox_forget(\(keep))") { slots.append(Int(slot) ?? -1) }
        return slots
    }

    // MARK: In order

    @Test("in order: each place is taken once and none below it, and consumers, sources and lanes know nothing of each other")
    func inOrder() async throws {
        try await withInbox { test in
            let session = try await connect(test)
            var answers: [String] = []
            for (number, seq) in [(1, 5), (1, 5), (1, 4), (1, 6), (2, 1), (1, 9), (2, 1), (2, 2)] { answers.append(try await take(number, seq, in: session)) }
            #expect(answers == ["t", "f", "f", "t", "t", "f", "f", "t"])
            let others = [
                try await take(1, 1, of: 1, in: session), try await take(1, 1, from: "u", in: session), try await take(1, 1, by: "d", in: session),
                try await take(2, 2, in: session), try await take(2, 3, in: session),
            ]
            #expect(others == ["t", "t", "t", "f", "t"])
            #expect(try await test.count("n1", "tandem.inbox_position") == 4, "one row a lane")
            await session.close()
        }
    }

    @Test(
        "in order: what is rolled back was not taken; of two that take a lane at a time one waits for the other, and in another lane nobody",
        arguments: ["COMMIT", "ROLLBACK"])
    func laneAtOnce(_ end: String) async throws {
        try await withInbox { test in
            let one = try await connect(test), other = try await connect(test), third = try await connect(test)
            // The lane's first place, and one behind a place.
            for (lane, isNew) in [(0, true), (1, false)] {
                if !isNew { #expect(try await take(1, 1, of: lane, in: one) == "t") }
                try await one.run("BEGIN")
                #expect(try await take(2, 1, of: lane, in: one) == "t")
                let waiting = Task { try await take(2, 1, of: lane, in: other) }
                try await wait(for: "the other one to wait") { try await test.waiting("n1") > 0 }
                #expect(try await take(2, 1, of: lane + 10, in: third) == "t")
                try await one.run(end)
                #expect(try await waiting.value == (end == "COMMIT" ? "f" : "t"))
                #expect(try await take(2, 1, of: lane, in: third) == "f")
            }
            for session in [one, other, third] { await session.close() }
        }
    }

    // MARK: At once

    @Test(
        "at REPEATABLE READ and above, where a later snapshot would be needed to say no, the answer is 40001, and then no",
        arguments: ["REPEATABLE READ", "SERIALIZABLE"])
    func snapshots(_ level: String) async throws {
        try await withInbox { test in
            let one = try await connect(test), late = try await connect(test), id = id(try await today(test))
            func lately(_ body: () async throws -> String) async throws -> String {
                try await late.run("BEGIN ISOLATION LEVEL \(level)")
                try await late.run("SELECT count(*) FROM effect")
                let answer = try await body()
                try await late.run("ROLLBACK")
                return answer
            }
            let received = try await lately {
                #expect(try await receive(id, in: one) == "t")
                return try await receive(id, in: late)
            }
            let many = try await lately {
                #expect(try await receive([self.id(try await today(test), 1)], in: one) == ["new"])
                return try await receive([self.id(try await today(test), 1)], in: late).joined()
            }
            let taken = try await lately {
                #expect(try await take(1, 1, in: one) == "t")
                return try await take(1, 1, in: late)
            }
            #expect([received, many, taken] == ["40001", "40001", "40001"])
            let again = [try await receive(id, in: late), try await take(1, 1, in: late)]
            #expect(again == ["f", "f"])
            for session in [one, late] { await session.close() }
        }
    }

    @Test("somebody else who is receiving a message is waited for no longer than lock_timeout, and that is the session's own afterwards")
    func limited() async throws {
        try await withInbox { test in
            let one = try await connect(test), other = try await connect(test), id = id(try await today(test))
            for limit in ["0", "250ms"] {
                try await one.run("SET lock_timeout = '\(limit)'")
                try await one.run("BEGIN")
                #expect(try await receive(id, in: one) == "t")
                #expect(try await receive([self.id(try await today(test), 1)], in: one) == ["new"])
                #expect(try await take(1, 1, in: one) == "t")
                #expect(try await one.value("SELECT current_setting('lock_timeout')") == limit)
                try await one.run("ROLLBACK")
            }
            try await one.run("BEGIN")
            let taken = [try await receive(id, in: one), try await take(1, 1, in: one)]
            #expect(taken == ["t", "t"])
            try await other.run("SET lock_timeout = '50ms'")
            let refused = [try await receive(id, in: other), try await receive([id], in: other).joined(), try await take(1, 1, in: other)]
            #expect(refused == ["55P03", "55P03", "55P03"])
            // No limit of its own is ten seconds.
            try await other.run("RESET lock_timeout")
            #expect(try await take(1, 1, in: other) == "55P03")
            try await one.run("ROLLBACK")
            #expect(try await receive(id, in: other) == "t")
            for session in [one, other] { await session.close() }
        }
    }

    // MARK: Batches

    @Test("a batch: each id is new, a duplicate or too old, in the batch's order, the first of doubles counts, and what is rolled back is new again")
    func batch() async throws {
        try await withInbox { test in
            let session = try await connect(test), today = try await today(test)
            let ids = [
                id(today, 1), id(today - 20), id(today, 1), id(today - 13), id(today + 13), "00000000-0000-4000-8000-000000000001", id(today - 20),
                "00000000-0000-4000-8000-000000000001",
            ]
            let first = ["new", "too_old", "duplicate", "new", "new", "new", "too_old", "duplicate"]
            try await session.run("BEGIN")
            #expect(try await receive(ids, in: session) == first)
            try await session.run("ROLLBACK")
            let rows = try await session.run("SELECT message_id, outcome FROM tandem.receive_many('c', '{\(ids.joined(separator: ","))}')")
            #expect(rows.map { $0[0] ?? "" } == ids && rows.map { $0[1] ?? "" } == first)
            #expect(try await receive(ids, in: session) == first.map { $0 == "new" ? "duplicate" : $0 })
            // One by one it is the same, and another consumer has had nothing.
            #expect(try await receive(ids[3], in: session) == "f")
            #expect(try await receive(ids[1], in: session) == "TD610")
            #expect(try await answer("SELECT tandem.receive('d', '\(ids[3])')", in: session) == ["t"])
            #expect(try await test.count("n1", "tandem.inbox WHERE consumer = 'c'") == 3, "what is too old leaves nothing")
            #expect(try await test.count("n1", "tandem.inbox_timeless") == 1)
            await session.close()
        }
    }

    @Test("a batch that cannot be is refused: a distant future, NULL, more than 10,000, no consumer")
    func impossible() async throws {
        try await withInbox { test in
            let session = try await connect(test), future = id(try await today(test) + 20)
            func ids(_ count: Int) -> String { "ARRAY(SELECT gen_random_uuid() FROM generate_series(1, \(count)))" }
            for arguments in ["'c', '{\(future)}'", "'c', '{NULL}'", "'c', \(ids(10_001))", "'', '{}'", "NULL, '{}'"] {
                #expect(try await answer("SELECT count(*) FROM tandem.receive_many(\(arguments))", in: session) == ["22023"], "\(arguments)")
            }
            #expect(try await receive(future, in: session) == "22023")
            #expect(try await answer("SELECT count(*) FROM tandem.receive_many('c', \(ids(10_000))) WHERE outcome = 'new'", in: session) == ["10000"])
            #expect(try await receive([], in: session) == [])
            await session.close()
        }
    }

    @Test("two who receive the same messages wait for each other in one order only, whatever that of their batches")
    func batchesAtOnce() async throws {
        try await withInbox { test in
            let one = try await connect(test), other = try await connect(test), today = try await today(test), ids = [id(today, 1), id(today, 2)]
            try await one.run("BEGIN")
            #expect(try await receive(ids[0], in: one) == "t")
            let waiting = Task { try await receive([ids[1], ids[0]], in: other) }
            try await wait(for: "the batch to wait") { try await test.waiting("n1") > 0 }
            // With its second one taken already, this would be a deadlock.
            #expect(try await receive(ids[1], in: one) == "t")
            try await one.run("COMMIT")
            #expect(try await waiting.value == ["duplicate", "duplicate"])
            for session in [one, other] { await session.close() }
        }
    }

    // MARK: Days

    @Test("a day beyond a fortnight is forgotten as a whole, and its messages are refused as too old from then on; younger ones stay duplicates")
    func forgotten() async throws {
        try await withInbox { test in
            let session = try await connect(test), first = try await today(test)
            let days = [first - 16, first - 15, first - 14, first - 13, first, first + 14]
            try await remember(from: first - 16, test)
            for day in days {
                let answers = [try await receive(id(day), in: session), try await receive(id(day), in: session)]
                #expect(answers == ["t", "f"])
            }
            let emptied = try await forget(in: session), floor = try await floor(test), last = try await today(test)
            #expect([first - 14, last - 14].contains(floor), "it may have become another day meanwhile")
            #expect(emptied == days.filter { $0 < floor }.map { $0 & 31 })
            for day in days {
                let isForgotten = day < floor
                #expect(try await receive(id(day), in: session) == (isForgotten ? "TD610" : "f"), "\(day - first)")
                #expect(try await receive([id(day)], in: session) == [isForgotten ? "too_old" : "duplicate"], "\(day - first)")
                // No row was removed one by one: that would leave pages.
                let isEmpty = try await test.value("n1", "SELECT pg_relation_size('tandem.inbox_\(day & 31)') = 0")
                #expect(isEmpty == (isForgotten ? "t" : "f"), "\(day - first)")
            }
            await session.close()
        }
    }

    @Test("who keeps fewer days forgets earlier; the first day that is remembered never falls, and is raised also where the attempt is rolled back")
    func kept() async throws {
        try await withInbox { test in
            let session = try await connect(test), first = try await today(test), old = id(first - 7), young = id(first - 3)
            for id in [old, young] { #expect(try await receive(id, in: session) == "t") }
            for keep in ["0", "15", "-1"] { #expect(try await answer("SELECT emptied FROM tandem.inbox_forget(\(keep))", in: session) == ["22023"]) }
            #expect(try await forget(in: session) == [])
            #expect(try await receive(old, in: session) == "f")

            try await session.run("BEGIN")
            #expect(try await forget("5", in: session) == [(first - 7) & 31])
            try await session.run("ROLLBACK")
            #expect(try await test.count("n1", "tandem.inbox") == 2, "the rows are there again")
            let floor = try await floor(test), last = try await today(test)
            #expect([first - 5, last - 5].contains(floor))
            #expect(try await receive(old, in: session) == "TD610")

            #expect(try await forget(in: session) == [(first - 7) & 31])
            #expect(try await self.floor(test) == floor)
            let answers = [try await receive(old, in: session), try await receive(young, in: session)]
            #expect(answers == ["TD610", "f"])
            await session.close()
        }
    }

    @Test("while somebody forgets, nobody else does")
    func forgettingAtOnce() async throws {
        try await withInbox { test in
            let one = try await connect(test), other = try await connect(test)
            try await remember(from: try await today(test) - 14, test)
            try await one.run("BEGIN")
            _ = try await forget("5", in: one)
            let floor = try await floor(test)
            #expect(try await answer("SELECT coalesce(emptied, blocked) FROM tandem.inbox_forget(3)", in: other) == ["NULL"])
            #expect(try await self.floor(test) == floor)
            try await one.run("COMMIT")
            _ = try await forget("3", in: other)
            #expect(try await self.floor(test) >= floor + 2)
            for session in [one, other] { await session.close() }
        }
    }

    @Test("failures of messages that came through in the end are forgotten after a fortnight")
    func attempts() async throws {
        try await withInbox { test in
            let session = try await connect(test), today = try await today(test)
            for number in 1...2 {
                #expect(try await answer("SELECT attempts FROM tandem.inbox_fail('c', '\(id(today, number))', 'x', 5)", in: session) == ["1"])
            }
            try await test.value("n1", "UPDATE tandem.inbox_attempt SET at = at - interval '15 days' WHERE message_id = '\(id(today, 1))'")
            #expect(try await forget(in: session) == [])
            #expect(try await test.value("n1", "SELECT string_agg(message_id::text, ',') FROM tandem.inbox_attempt") == id(today, 2))
            await session.close()
        }
    }

    // MARK: Days and transactions that are open

    @Test(
        "one that has received a message of the oldest day, and is not over, keeps the slot, which is named; however it ends, nobody receives the message anew",
        arguments: ["COMMIT", "ROLLBACK", "COMMIT PREPARED", "ROLLBACK PREPARED"])
    func open(_ end: String) async throws {
        try await withInbox { test in
            let open = try await connect(test), session = try await connect(test), gid = "\(test.database) inbox"
            let day = try await today(test) - 15, old = id(day)
            try await remember(from: day, test)
            try await open.run("BEGIN")
            #expect(try await handle(old, in: open) == "done")
            if end.hasSuffix("PREPARED") { try await open.run("PREPARE TRANSACTION '\(gid)'") }

            #expect(try await forgetOnce(in: session) == "/\(day & 31)")
            #expect(try await handle(old, in: session) == "TD610", "without a wait")
            try await open.run(end.hasSuffix("PREPARED") ? "\(end) '\(gid)'" : end)
            let effects = end.hasPrefix("COMMIT") ? 1 : 0
            #expect(try await test.count("n1", "effect") == effects)
            #expect(try await handle(old, in: session) == "TD610")

            #expect(try await forgetOnce(in: session) == "\(day & 31)/")
            #expect(try await handle(old, in: session) == "TD610")
            #expect(try await test.count("n1", "effect") == effects)
            for session in [open, session] { await session.close() }
        }
    }

    @Test("one that waits for another receiver while their day is forgotten is refused, though the other one is rolled back")
    func waited() async throws {
        try await withInbox { test in
            let one = try await connect(test), other = try await connect(test), session = try await connect(test)
            let day = try await today(test) - 15, old = id(day)
            try await remember(from: day, test)
            try await one.run("BEGIN")
            #expect(try await handle(old, in: one) == "done")
            let waiting = Task { try await handle(old, in: other) }
            try await wait(for: "the other one to wait") { try await test.waiting("n1") > 0 }
            #expect(try await forgetOnce(in: session) == "/\(day & 31)")
            try await one.run("ROLLBACK")
            #expect(try await waiting.value == "TD610")
            #expect(try await test.count("n1", "effect") == 0)
            for session in [one, other, session] { await session.close() }
        }
    }

    // It has read the first day that is remembered, and is about to look for the message, when the day is emptied: it finds nothing where something was.
    @Test(
        "a day that is forgotten between the two looks of a receiver makes none of its messages new, whatever snapshot there is: TD610, or 40001 for a batch",
        arguments: ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
    func between(_ level: String) async throws {
        try await withInbox { test in
            let holder = try await test.session("n1"), late = try await connect(test), session = try await connect(test)
            let day = try await today(test) - 15
            for isBatch in [false, true] {
                let old = id(day, isBatch ? 1 : 0)
                try await remember(from: day, test)
                #expect(try await handle(old, in: session) == "done")
                try await late.run("BEGIN ISOLATION LEVEL \(level)")
                try await late.run("SELECT count(*) FROM effect")
                try await holder.run("BEGIN")
                try await holder.run("LOCK TABLE tandem.inbox_\(day & 31) IN SHARE MODE")
                let waiting = Task { try await isBatch ? receive([old], in: late).joined() : receive(old, in: late) }
                try await wait(for: "the receiver to stand before the slot") { try await test.waiting("n1") > 0 }
                #expect(try await holder.value("SELECT emptied FROM tandem.inbox_forget()") == "\(day & 31)")
                try await holder.run("COMMIT")
                #expect(try await waiting.value == (isBatch ? "40001" : "TD610"))
                try await late.run("ROLLBACK")
                let again = try await isBatch ? receive([old], in: late).joined() : receive(old, in: late)
                #expect(again == (isBatch ? "too_old" : "TD610"))
            }
            #expect(try await test.count("n1", "effect") == 2, "one for each message")
            for session in [holder, late, session] { await session.close() }
        }
    }

    // MARK: Ids without a time

    @Test("an id that tells no time is remembered for 30 days, and received anew only behind them")
    func timeless() async throws {
        try await withInbox { test in
            let session = try await connect(test), ids = ["00000000-0000-4000-8000-000000000001", "invoice/7"]
            func sweep() async throws -> String? { try await session.value("SELECT concat(removed, '/', next_page) FROM tandem.inbox_sweep(0)") }
            func receiveAll() async throws -> [String] {
                var answers: [String] = []
                for id in ids { answers.append(try await receive(id, in: session)) }
                return answers
            }
            #expect(try await receiveAll() == ["t", "t"])
            try await test.value("n1", "UPDATE tandem.inbox_timeless SET day = \(Self.day) - 30")
            #expect(try await sweep() == "0/")
            #expect(try await forget("1", in: session) == [], "days are of no matter to them")
            #expect(try await receiveAll() == ["f", "f"])
            try await test.value("n1", "UPDATE tandem.inbox_timeless SET day = \(Self.day) - 31")
            #expect(try await receiveAll() == ["f", "f"], "as long as they were not swept")
            #expect(try await sweep() == "2/")
            #expect(try await receiveAll() == ["t", "t"])
            await session.close()
        }
    }

    @Test("ids without a time are swept page by page: what is old is gone from the pages that were looked at, and nothing else is")
    func pages() async throws {
        try await withInbox { test in
            let session = try await connect(test), old = "tandem.inbox_timeless WHERE day < \(Self.day) - 30"
            try await test.value(
                "n1", "INSERT INTO tandem.inbox_timeless SELECT 'consumer', gen_random_uuid(), \(Self.day) - 29 - i % 2 * 10 FROM generate_series(1, 1000) i")
            var page: Int? = 0, removed = 0, rounds = 0
            while let from = page {
                let row = try await session.run("SELECT removed, next_page FROM tandem.inbox_sweep(\(from), 1)")[0]
                removed += row[0].flatMap { Int($0) } ?? 0
                rounds += 1
                page = row[1].flatMap { Int($0) }
                #expect(page == nil || page == from + 1)
                #expect(try await test.count("n1", "\(old) AND ctid < '(\(from + 1),0)'") == 0)
                #expect(try await test.count("n1", old) == 500 - removed)
            }
            #expect(removed == 500 && rounds > 4)
            #expect(try await test.count("n1", "tandem.inbox_timeless") == 500)
            // Who keeps fewer days.
            #expect(try await session.value("SELECT removed FROM tandem.inbox_sweep(0, 256, 28)") == "500")
            for arguments in ["-1", "0, 0", "0, 65537", "4294967295", "0, 1, 0"] {
                #expect(try await answer("SELECT removed FROM tandem.inbox_sweep(\(arguments))", in: session) == ["22023"], "\(arguments)")
            }
            await session.close()
        }
    }

    // MARK: Housekeeping

    @Test("housekeeping forgets all that is due in one go, days and pages, and a program is told by name what is too old")
    func housekeeping() async throws {
        try await withInbox { test in
            let session = try await connect(test), today = try await today(test)
            try await remember(from: today - 17, test)
            for day in [today - 17, today - 16, today - 15, today] { #expect(try await receive(id(day), in: session) == "t") }
            // More pages than one statement looks at.
            try await test.value(
                "n1", "INSERT INTO tandem.inbox_timeless SELECT repeat('c', 250), gen_random_uuid(), \(Self.day) - 40 FROM generate_series(1, 9000)")
            #expect(try await test.value("n1", "SELECT pg_relation_size('tandem.inbox_timeless') / current_setting('block_size')::int > 256") == "t")
            try await Inbox(test.cluster, on: "n1").forget()
            let left = [try await test.count("n1", "tandem.inbox"), try await test.count("n1", "tandem.inbox_timeless")]
            #expect(left == [1, 0])
            func received(_ day: Int) async throws -> Bool {
                try await test.cluster["n1"].transaction { try await $0.receive(id(day), by: "c") }
            }
            let error = await refusal { try await received(today - 15) }
            #expect(error?.code == .messageTooOld && error?.effect == .rolledBack)
            #expect(try await received(today) == false)
            await session.close()
        }
    }
}
