import Metrics
import Foundation
import InMemoryTracing
import MetricsTestKit
import TandemCluster
import TandemCore
import TandemPostgres
import TandemTestSupport
import Testing
import Tracing

@testable import TandemTransactions

@Suite("Metrics and traces")
struct TelemetryTests {
    private let labels = [("cluster", "test")]

    @Test("outcomes are counted, and transactions and their phases measured")
    func transactions() async throws {
        let metrics = TestMetrics()
        try await withCluster(2, { $0.metrics = metrics }) { test in
            for account in 1...3 { _ = try await test.transfer(account: account) }
            _ = await refusal { try await test.transfer(5000) }
            _ = try await test.cluster.run(TransactionRequest([.init("n1", "UPDATE account SET balance = balance WHERE id = 1")]))
            func total(_ outcome: String) throws -> Int64 {
                try metrics.expectCounter("tandem_tx_total", labels + [("outcome", outcome)]).totalValue
            }
            #expect(try total("committed") == 4 && total("rolled_back") == 1 && total("in_doubt") == 0)
            #expect(try metrics.expectTimer("tandem_tx_duration_seconds", labels).values.count == 5)
            func count(_ phase: String) throws -> Int { try metrics.expectTimer("tandem_tx_phase_seconds", labels + [("phase", phase)]).values.count }
            #expect(try count("prepare") == 3 && count("decide") == 4 && count("finish") == 3)
        }
    }

    @Test("recovery counts what it does, and says what each node has prepared")
    func recovery() async throws {
        let metrics = TestMetrics()
        try await withCluster(
            2,
            {
                $0.metrics = metrics
                $0.recoveryGrace = .seconds(3600)
                $0.recoveryInterval = .milliseconds(20)
            }
        ) { test in
            let young = TransactionID.fresh(), decided = TransactionID.fresh()
            try await test.leavePrepared(young, account: 2)
            try await test.leavePrepared(decided)
            try await test.decide(decided)
            try await sql(try test.conninfo("n2"), "BEGIN", "SELECT pg_current_xact_id()", "PREPARE TRANSACTION 'foreign \(young)'")
            let task = Task { try await test.cluster.run() }
            func gauge(_ name: String, _ node: String) throws -> Double? {
                try metrics.expectGauge(name, labels + [("node", node)]).lastValue
            }
            try await wait(for: "the decided one to be gone") {
                (try? gauge("tandem_tx_in_doubt", "n2")) == 1 && (try? gauge("tandem_tx_in_doubt", "n1")) == 0
                    && (try? gauge("tandem_prepared_foreign", "n2")) == 1
            }
            #expect(try gauge("tandem_prepared_foreign", "n2") == 1 && gauge("tandem_node_unreachable", "n1") == 0)
            #expect(try gauge("tandem_prepared_max", "n1") == 200)
            #expect(try gauge("tandem_prepared_used", "n2") ?? 0 >= 2)
            #expect(try metrics.expectCounter("tandem_recovery_actions_total", labels + [("action", "committed")]).totalValue == 1)
            #expect(try metrics.expectCounter("tandem_recovery_actions_total", labels + [("action", "too_young")]).totalValue >= 1)
            task.cancel()
            _ = await task.result
            try await sql(try test.conninfo("n2"), "ROLLBACK PREPARED 'foreign \(young)'")
            _ = await test.cluster.recover(grace: .zero)
        }
    }

    @Test("a branch that is lost is an alarm")
    func alarms() async throws {
        let metrics = TestMetrics()
        try await withCluster(2, { $0.metrics = metrics }) { test in
            let id = TransactionID.fresh()
            try await test.leavePrepared(id)
            // Too old to say: behind the horizon, without a row.
            try await test.value("n1", "UPDATE tandem.node SET forgotten = 'ffffffff-ffff-7fff-bfff-ffffffffffff'")
            #expect(await test.cluster.recover(grace: .zero).branches.map(\.settlement) == ["held"])
            #expect(try metrics.expectCounter("tandem_heuristic_total", labels + [("kind", "held")]).totalValue == 1)
            try await test.value("n1", "UPDATE tandem.node SET forgotten = '00000000-0000-0000-0000-000000000000'")
            _ = await test.cluster.recover(grace: .zero)
        }
    }

    private func text(_ span: FinishedInMemorySpan, _ name: String) -> String? {
        if case .string(let text)? = span.attributes.get(name) { text } else { nil }
    }

    @Test("a transaction is a span, its phases and what its body traces are children of it")
    func spans() async throws {
        let tracer = InMemoryTracer()
        try await withCluster(2, { $0.tracer = tracer }) { test in
            let receipt = try await test.cluster.transaction { tx in
                let own = tracer.startSpan("own")
                for (node, amount) in [("n1", -10), ("n2", 10)] as [(NodeName, Int)] {
                    try await tx[node].execute("UPDATE account SET balance = balance + \(amount) WHERE id = 1")
                }
                own.end()
            }
            _ = await refusal { try await test.transfer(5000) }
            let spans = tracer.finishedSpans
            let transaction = try #require(spans.first { $0.operationName == "tandem.transaction" })
            let children = spans.filter { $0.parentSpanID == transaction.spanID }.map(\.operationName)
            #expect(children == ["own", "tandem.prepare", "tandem.decide", "tandem.finish"])
            #expect(
                text(transaction, "tandem.transaction") == "\(receipt.transaction)"
                    && text(transaction, "tandem.outcome") == "committed")
            let failed = try #require(spans.last { $0.operationName == "tandem.transaction" })
            #expect(text(failed, "error.type") == "statementFailed" && text(failed, "db.response.status_code") == "23514")
            #expect(text(failed, "tandem.outcome") == "rolled_back" && failed.status?.code == .error)
        }
    }

    @Test("docs/metrics.md lists every span, and no other")
    func documented() throws {
        let path = URL(filePath: #filePath).resolvingSymlinksInPath().appending(path: "../../../docs/metrics.md").standardizedFileURL
        let lines = try String(contentsOf: path, encoding: .utf8).split(separator: "\n").filter { $0.hasPrefix("| `tandem.") }
        let names = lines.compactMap { $0.split(separator: "`").dropFirst().first.map(String.init) }
        #expect(Set(names) == Set(Telemetry.Phase.allCases.map(\.span) + [Telemetry.transactionSpan]))
    }
}
