import Foundation
import MetricsTestKit
import TandemCluster
import TandemCore
import TandemLocal
import TandemPostgres
import TandemSagas
import TandemTestSupport
import TandemTransactions
import Testing

private let patience = Duration.seconds(30)

@Suite("What operators see of sagas")
struct SagaOperationTests {
    @Test("ends, attempts and the backlog are counted")
    func metrics() async throws {
        let metrics = TestMetrics(), labels = [("cluster", "test")]
        try await OrderSaga.withNodes({ $0.metrics = metrics }) { nodes in
            let sagas = try nodes.sagas()
            func total(_ name: String, _ more: (String, String)...) throws -> Int64 { try metrics.expectCounter(name, labels + more).totalValue }
            try await nodes.withWorker(sagas) {
                let good = try await sagas.start(OrderSaga.definition(), input: #"{"item": 7, "amount": 1}"#).id
                let bad = try await sagas.start(OrderSaga.definition(), input: #"{"item": 7, "amount": 1000}"#).id
                for id in [good, bad] { _ = try await sagas.end(of: id, within: patience) }
                // The worker's word comes after the row's.
                try await wait(for: "both to be counted") {
                    try total("tandem_saga_total", ("outcome", "completed")) == 1 && total("tandem_saga_total", ("outcome", "compensated")) == 1
                }
                try await wait(for: "both durations") { try metrics.expectTimer("tandem_saga_duration_seconds", labels).values.count == 2 }
                // Somebody else's, whose lease is over.
                try await nodes.test.value(
                    "n1",
                    """
                    INSERT INTO tandem.saga (id, name, definition, is_code, input, epoch, owner, due_at)
                    SELECT gen_random_uuid(), 'order', hash, false, '{"item": 7, "amount": 1}', 1, 'gone', now() FROM tandem.saga_definition
                    """)
                try await wait(for: "the takeover") { try total("tandem_saga_takeovers_total") == 1 }
            }
            // Nobody runs it, and what undoes it fails for good.
            let broken = OrderSaga.definition { $0.steps[0].undo = .sql([.init("SELECT 1 / 0")]) }
            let stuck = try await sagas.start(broken, input: #"{"item": 7, "amount": 1000}"#).id
            // All attempts but the last one are used up.
            try await sql(
                try nodes.test.superuser("n1"),
                "INSERT INTO tandem.saga_journal (saga_id, step, what, attempt) VALUES ('\(stuck)', 'order', 'undo_failed', 24)",
                "UPDATE tandem.saga SET epoch = 1 WHERE id = '\(stuck)'")
            let end = try await nodes.withWorker(sagas) { try await sagas.end(of: stuck, within: patience) }
            #expect(end.state == .stuckCompensation)
            #expect(try total("tandem_saga_failed_attempts_total", ("operation", "undo")) == 1)
            // A worker looks at the home node when it begins.
            try await nodes.withWorker(sagas) {
                try await wait(for: "the gauge") { (try? metrics.expectGauge("tandem_saga_stuck", labels).lastValue) == 1 }
            }
            #expect(try await sagas.examine().map(\.status) == [.problem])
        }
    }

    @Test("the doctor says when nobody runs sagas, and when the tables are missing")
    func doctor() async throws {
        try await OrderSaga.withNodes { nodes in
            let sagas = try nodes.sagas()
            #expect(try await sagas.examine().map(\.status) == [.ok])
            _ = try await sagas.start(OrderSaga.definition(), input: #"{"item": 7, "amount": 1}"#)
            try await nodes.test.value("n1", "UPDATE tandem.saga SET due_at = now() - interval '2 minutes'")
            let findings = try await sagas.examine()
            #expect(findings.map(\.status) == [.problem] && findings.first?.message.contains("nobody runs") == true)
        }
        try await withCluster(1) { test in
            let findings = try await Sagas(test.cluster).examine()
            #expect(findings.map(\.status) == [.notice])
        }
    }

    @Test("behind a pooler in transaction mode sagas run as ever")
    func pooler() async throws {
        try await OrderSaga.withNodes { nodes in
            try await withPooler(for: nodes.test) { cluster, _ in
                let sagas = try nodes.sagas(cluster)
                try await nodes.withWorker(sagas) {
                    var ids: [SagaID] = []
                    for index in 0..<20 {
                        ids.append(try await sagas.start(OrderSaga.definition(), input: #"{"item": 7, "amount": \#(index % 4 == 0 ? 1 : 1000)}"#).id)
                    }
                    for (index, id) in ids.enumerated() {
                        #expect(try await sagas.end(of: id, within: patience).state == (index % 4 == 0 ? .completed : .compensated))
                    }
                }
                #expect(try await nodes.state() == ["5", "5", "95", "5"])
            }
        }
    }

    // MARK: A restore

    private func text(_ gap: SagaGap) -> String { "\(gap.saga) \(gap.kind.rawValue) \(gap.node) \(gap.step) \(gap.recorded ?? "-")" }

    private func run(_ program: String?, _ arguments: [String], _ conninfo: String) throws {
        let process = Process(), path = try #require(program)
        process.executableURL = URL(fileURLWithPath: path)
        process.arguments = arguments + ["-d", conninfo]
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0, "\(path)")
    }

    @Test("a home node that is restored does nothing twice, and what it has forgotten is listed")
    func restored() async throws {
        try await OrderSaga.withNodes { nodes in
            let sagas = try nodes.sagas(), input = #"{"item": 7, "amount": 1}"#, home = try nodes.test.superuser("n1")
            let file = NSTemporaryDirectory() + "/tandem-\(UUID().uuidString).sql"
            defer { unlink(file) }
            // Two are there when the backup is made, and end behind it; two more are started behind it.
            let before = try await sagas.start(OrderSaga.definition(), input: input).id
            let turned = try await sagas.start(OrderSaga.definition(), input: #"{"item": 7, "amount": 1000}"#).id
            try run(await PostgresPrograms.pgDump(), ["-f", file, "-n", "tandem", "-n", "public"], home)
            let lost = try await nodes.withWorker(sagas) {
                let lost = try await sagas.start(OrderSaga.definition(), input: input).id
                let states = (
                    try await sagas.end(of: before, within: patience).state, try await sagas.end(of: turned, within: patience).state,
                    try await sagas.end(of: lost, within: patience).state
                )
                #expect(states == (.completed, .compensated, .completed))
                return lost
            }
            #expect(try await nodes.state() == ["2", "8", "98", "2"])
            #expect(try await sagas.reconcile(olderThan: .zero).gaps == [])
            try await sql(home, "DROP SCHEMA tandem CASCADE", "DROP SCHEMA public CASCADE")
            try run(await PostgresPrograms.psql(), ["-q", "-v", "ON_ERROR_STOP=1", "-f", file], home)
            // As any program after a restore: it is another one.
            let again = try nodes.sagas(try nodes.test.another())
            try await sql(home, "UPDATE tandem.saga SET due_at = now()")
            let ends = try await nodes.withWorker(again) {
                (try await again.end(of: before, within: patience).state, try await again.end(of: turned, within: patience).state)
            }
            #expect(ends == (.completed, .compensated))
            // The order of the one that is lost is lost with the node; its stock and money are not.
            #expect(try await nodes.state() == ["1", "8", "98", "2"])
            let gaps = try await again.reconcile(olderThan: .zero).gaps
            #expect(gaps.map(text) == ["\(lost) saga_missing n2 stock done", "\(lost) saga_missing n3 payment done"])
            // And the other way round.
            try await nodes.test.value("n2", "DELETE FROM tandem.saga_step WHERE saga_id = '\(before)'")
            try await nodes.test.value("n1", "DELETE FROM tandem.saga_step WHERE saga_id = '\(turned)' AND op = 'u'")
            let more = try await again.reconcile(olderThan: .zero)
            #expect(more.sagas == 2)
            #expect(Set(more.gaps.suffix(2).map(text)) == ["\(before) step_missing n2 stock -", "\(turned) undo_missing n1 order done"])
        }
    }
}
