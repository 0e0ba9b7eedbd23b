import Foundation
import Logging
import TandemCluster
import TandemCore
import TandemInbox
import TandemLocal
import TandemMessaging
import TandemOutbox
import TandemPostgres
import TandemTestSupport
import TandemTransactions
import Testing

/// The node n1 of a test as it would be after a move: its database restored from a dump into another server, whose transaction ids are others.
private struct Restored: Sendable {
    let cluster: Cluster
    /// The superuser's way there.
    let place: String
    private let test: TestCluster
    private let server: LocalNode
    private let said: Locked<[String]>

    /// Gives the body one without a database yet, and removes it afterwards.
    static func with(_ test: TestCluster, _ body: (Restored) async throws -> Void) async throws {
        let server = try test.local.node("n2"), said = Locked<[String]>([])
        var configuration = test.configuration
        configuration.nodes[0].conninfo = server.conninfo(database: test.database)
        configuration.logger = Logger(label: "tests") { _ in KeptLog(said) }
        let restored = Restored(
            cluster: try Cluster(configuration), place: server.superuserConninfo(database: test.database), test: test, server: server, said: said)
        do {
            try await body(restored)
            await restored.remove()
        } catch {
            await restored.remove()
            throw error
        }
    }

    private func remove() async {
        cluster.close()
        _ = try? await sql(server.superuserConninfo, "DROP DATABASE IF EXISTS \(test.database) WITH (FORCE)")
    }

    /// Makes a dump of the node as it is now, and restores it.
    func restore() async throws {
        let file = "\(NSTemporaryDirectory())/tandem-\(test.database).sql", found = (await PostgresPrograms.pgDump(), await PostgresPrograms.psql())
        let dump = try #require(found.0), psql = try #require(found.1), source = try test.superuser("n1")
        defer { unlink(file) }
        _ = try await ProgramOutput.of([dump, "-f", file, "-d", source], within: .seconds(60))
        try await sql(server.superuserConninfo, "CREATE DATABASE \(test.database) OWNER tandem")
        _ = try await ProgramOutput.of([psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", file, "-d", place], within: .seconds(60))
    }

    /// What docs/operating.md says for a node that moved: from then on programs connect to it.
    func rebind() async throws {
        try await sql(
            place, "INSERT INTO tandem.operation (what, reason) VALUES ('rebind by hand', 'a test')",
            """
            UPDATE tandem.node SET system_identifier = (SELECT system_identifier FROM pg_control_system()),
                database_oid = (SELECT oid FROM pg_database WHERE datname = current_database())
            """)
    }

    func hasSaid(_ text: String) -> Bool { said.withLock { $0.contains { $0.contains(text) } } }

    func publish(_ number: Int) async throws { try await sql(place, "SELECT tandem.publish('t', 'k', '\(number)')") }
}

@Suite("An outbox that was restored from a dump")
struct RestoreTests {
    private func publish(_ test: TestCluster, _ numbers: ClosedRange<Int>) async throws {
        for number in numbers { try await sql(try test.conninfo("n1"), "SELECT tandem.publish('t', 'k', '\(number)')") }
    }

    /// Leaves an outbox of two slots: the sink has the numbers to 5, and nobody has sent those to 8.
    ///
    /// - Returns: what the sink got.
    private func history(_ test: TestCluster) async throws -> [Event] {
        let sink = RecordingSink()
        try await test.value("n1", "UPDATE tandem.outbox_settings SET slot_bytes = 0")
        try await relaying(test.cluster, to: sink) {
            try await publish(test, 1...3)
            try await wait(for: "the first ones") { sink.texts == ["1", "2", "3"] }
            _ = try await Outbox(test.cluster, on: "n1").keepHouse()
            try await publish(test, 4...5)
            try await wait(for: "what is sent before the dump") { sink.events.count == 5 }
        }
        try await publish(test, 6...8)
        #expect(try await test.value("n1", "SELECT count(DISTINCT seq >> 36) FROM tandem.outbox") == "2")
        return sink.events
    }

    @Test(
        "case 12: the relay refuses with outboxRestored and sends nothing, until a rebase says from where on: then all from there on comes, and what is new",
        arguments: [1, 6])
    func rebased(_ first: Int) async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            let sent = try await history(test), sink = RecordingSink()
            try await Restored.with(test) { restored in
                try await restored.restore()
                let identity = await refusal { try await restored.cluster["n1"].execute("SELECT 1") }
                #expect(identity?.code == .identityMismatch)
                try await restored.rebind()
                let last = try await sql(restored.place, "SELECT coalesce(max(seq), 0) FROM tandem.outbox WHERE convert_from(payload, 'UTF8')::int < \(first)")
                let outbox = Outbox(restored.cluster, on: "n1"), from = Int64(last ?? "") ?? -1
                try await relaying(restored.cluster, to: sink) {
                    try await wait(for: "the refusal") { restored.hasSaid("outboxRestored") }
                    let check = try await sql(restored.place, "SELECT tandem.outbox_check()")
                    #expect(check == "restored" && sink.events.isEmpty)
                    let error = await refusal { try await restored.cluster["n1"].execute("SELECT tandem.outbox_renumber()") }
                    #expect(error?.sqlState == .outboxRestored, "as after a promotion it does not go on")

                    let count = try await outbox.rebase(from: from)
                    #expect(count == 9 - first)
                    try await wait(for: "what was asked for") { sink.events.count >= count }
                    for number in 9...10 { try await restored.publish(number) }
                    try await wait(for: "the new ones") { sink.texts.last == "10" }
                    try await wait(for: "no lag") { try await outbox.lag().map(\.events) == [0] }
                }
                #expect(sink.texts == (first...10).map(String.init), "in their order, each once")
                // What comes again is known by its id.
                let again = sink.events.filter { sent.map(\.id).contains($0.id) }
                #expect(again == (first == 1 ? sent : []))
                // The ring goes on where it was.
                _ = try await outbox.keepHouse()
                try await restored.publish(11)
                try await relaying(restored.cluster, to: sink) { try await wait(for: "one in the next slot") { sink.texts.last == "11" } }
            }
        }
    }

    @Test("a relay that was looking for its node before it was restored says what it waits for then")
    func waiting() async throws {
        try await withCluster(1, modules: [.outbox]) { test in
            _ = try await history(test)
            let sink = RecordingSink()
            try await Restored.with(test) { restored in
                try await relaying(restored.cluster, to: sink) {
                    try await wait(for: "a node that is not there yet") { restored.hasSaid("databaseMissing") }
                    try await restored.restore()
                    try await restored.rebind()
                    try await wait(for: "the refusal") { restored.hasSaid("outboxRestored") }
                    #expect(sink.events.isEmpty)
                    _ = try await Outbox(restored.cluster, on: "n1").rebase(from: 0)
                    try await wait(for: "all events") { sink.texts == (1...8).map(String.init) }
                }
            }
        }
    }

    @Test("a dump that is restored into the same database waits for a rebase, too: its windows' numbers were used by what came after it")
    func sameServer() async throws {
        try await withCluster(2, modules: [.outbox, .inbox]) { test in
            let file = "\(NSTemporaryDirectory())/tandem-\(test.database)-same.sql", outbox = Outbox(test.cluster, on: "n1"), said = Locked<[String]>([])
            let found = (await PostgresPrograms.pgDump(), await PostgresPrograms.psql()), place = try test.superuser("n1")
            let dump = try #require(found.0), psql = try #require(found.1)
            defer { unlink(file) }
            let another = try test.another { $0.logger = Logger(label: "tests") { _ in KeptLog(said) } }
            defer { another.close() }
            func relaying(_ body: () async throws -> Void) async throws {
                try await TandemOutboxTests.relaying(another, to: InboxSink(another, on: "n2", queue: "orders")) { try await body() }
            }
            func queued() async throws -> String? {
                try await test.value("n2", "SELECT string_agg(convert_from(payload, 'UTF8'), ',' ORDER BY place) FROM tandem.inbox_queue")
            }
            try await relaying {
                try await publish(test, 1...2)
                try await wait(for: "the first ones") { try await queued() == "1,2" }
            }
            _ = try await ProgramOutput.of([dump, "-n", "tandem", "-f", file, "-d", place], within: .seconds(60))
            try await relaying {
                for number in 3...8 {
                    try await publish(test, number...number)
                    try await wait(for: "one in a window of its own") { try await queued()?.hasSuffix("\(number)") == true }
                }
            }
            try await sql(place, "DROP SCHEMA tandem CASCADE")
            _ = try await ProgramOutput.of([psql, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", file, "-d", place], within: .seconds(60))
            try await relaying {
                try await publish(test, 9...9)
                try await wait(for: "the refusal") { said.withLock { $0.contains { $0.contains("outboxRestored") } } }
                #expect(try await queued() == "1,2,3,4,5,6,7,8")
                let count = try await outbox.rebase(from: 0)
                #expect(count == 3)
                // Without it the inbox would take the new one for one that it has.
                try await wait(for: "what is there, again, and the new one") { try await queued() == "1,2,3,4,5,6,7,8,1,2,9" }
            }
        }
    }
}
