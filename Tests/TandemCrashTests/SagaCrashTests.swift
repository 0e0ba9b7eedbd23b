import Foundation
import TandemCluster
import TandemCore
import TandemOutbox
import TandemPostgres
import TandemSagas
import TandemTestSupport
import Testing

// Where the rows F1 and F2 of the matrix of faults are tested, and cases 13 and 14 of sagas.

@Suite("Workers of sagas that are killed and stopped")
struct SagaCrashTests {
    private static let width = 8, most = 200
    private static let section = "sagas: {lease: 1s, poll: 20ms}\n"

    /// Ends a process in order, or at once where it was stopped.
    private func withProgram<Value>(_ path: String, _ failpoints: String?, _ body: (Program.Running) async throws -> Value) async throws -> Value {
        let program = try Program(name: "tandem", arguments: ["saga", "run", "-c", path], failpoints: failpoints).start()
        do {
            let value = try await body(program)
            program.signal(SIGKILL)
            return value
        } catch {
            program.signal(SIGKILL)
            throw error
        }
    }

    /// Kills workers at every eighth point, each with a saga that goes through and one that turns back, and looks what came of the two.
    private func sweep(
        _ offset: Int, _ nodes: OrderNodes, _ definition: SagaDefinition, _ check: (_ good: SagaID, _ bad: SagaID, _ point: Int) async throws -> Void
    ) async throws {
        try await nodes.test.withConfigurationFile(Self.section) { path in
            let sagas = try nodes.sagas { $0.lease = .seconds(1) }
            var point = offset, isOver = false
            while !isOver {
                try #require(point < Self.most, "the worker never comes to the end")
                let good = try await sagas.start(definition, input: #"{"item": 7, "amount": 1}"#).id
                let bad = try await sagas.start(definition, input: #"{"item": 7, "amount": 1000}"#).id
                func isAtRest() async throws -> Bool {
                    let (one, other) = (try await sagas.end(of: good, within: .zero), try await sagas.end(of: bad, within: .zero))
                    return one.state.isAtRest && other.state.isAtRest
                }
                try await withProgram(path, point == 0 ? "*=kill" : "*=\(point)*off->kill") { program in
                    try await wait(for: "the end of the worker or of its sagas", within: .seconds(60)) {
                        if program.hasEnded { return true }
                        isOver = try await isAtRest()
                        return isOver
                    }
                }
                if !isOver { try await nodes.withWorker(sagas) { try await wait(for: "the sagas' end", within: .seconds(60)) { try await isAtRest() } } }
                let states = (try await sagas.end(of: good, within: .zero).state, try await sagas.end(of: bad, within: .zero).state)
                #expect(states == (.completed, .compensated), "killed at point \(point)")
                try await check(good, bad, point)
                point += Self.width
                // Ten pieces are in stock.
                try await nodes.test.value("n2", "UPDATE stock SET count = 10")
                try await nodes.test.value("n3", "UPDATE purse SET money = 100")
                try await sql(try nodes.test.superuser("n1"), "DELETE FROM orders")
                try await sql(try nodes.test.superuser("n3"), "DELETE FROM payment")
            }
        }
    }

    @Test("F1, F2: wherever a worker is killed, all steps end done once or undone once", arguments: 0..<width)
    func killed(_ offset: Int) async throws {
        try await OrderSaga.withNodes { nodes in
            try await sweep(offset, nodes, OrderSaga.definition()) { _, _, point in
                let state = try await nodes.state()
                #expect(state == ["1", "9", "99", "1"], "killed at point \(point)")
            }
        }
    }

    @Test("F1, F2: wherever a worker is killed, the event of a step leaves once, and that of its undoing once", arguments: 0..<width)
    func told(_ offset: Int) async throws {
        let definition = OrderSaga.definition { definition in
            func event(_ topic: String) -> SagaDefinition.Event {
                .init(
                    topic: topic, key: "item-{input.item}", payload: #"{"saga": "{saga_id}", "amount": "{input.amount}"}"#, headers: ["by": "{saga_id}"])
            }
            definition.steps.insert(.init("tell", .outbox("n1", event("order.created")), undo: .outbox(event("order.cancelled"))), at: 1)
        }
        try await OrderSaga.withNodes(modules: [.outbox]) { nodes in
            try await sweep(offset, nodes, definition) { good, bad, point in
                let events = try await nodes.test.value(
                    "n1",
                    """
                    SELECT string_agg(concat_ws(' ', e.topic, e.key, e.amount, e.is_consistent), ', ' ORDER BY e.topic, e.amount)
                    FROM (SELECT o.topic, o.key, p->>'amount' AS amount, p->>'saga' = o.headers->>'by' AS is_consistent
                        FROM tandem.outbox o, LATERAL CAST(convert_from(o.payload, 'UTF8') AS json) p WHERE o.headers->>'by' IN ('\(good)', '\(bad)')) e
                    """)
                #expect(
                    events == "order.cancelled item-7 1000 t, order.created item-7 1 t, order.created item-7 1000 t", "killed at point \(point)")
            }
        }
    }

    @Test("a worker that is stopped for longer than its lease, and wakes up, changes nothing")
    func stopped() async throws {
        try await OrderSaga.withNodes { nodes in
            try await nodes.test.withConfigurationFile(Self.section) { path in
                let sagas = try nodes.sagas { $0.lease = .seconds(1) }
                let first = try await sagas.start(OrderSaga.definition(), input: #"{"item": 7, "amount": 1}"#).id
                // It stands still before the second step.
                try await withProgram(path, "saga_before_step=1*off->1*stop->off") { program in
                    try await wait(for: "the worker's standstill") { program.isStopped }
                    let end = try await nodes.withWorker(sagas) { try await sagas.end(of: first, within: .seconds(30)) }
                    #expect(end.state == .completed)
                    program.signal(SIGCONT)
                    // Nobody else runs the next one: when it is done, the first one's rest is behind the process.
                    let second = try await sagas.start(OrderSaga.definition(), input: #"{"item": 7, "amount": 1}"#).id
                    #expect(try await sagas.end(of: second, within: .seconds(30)).state == .completed)
                    #expect(try await sagas.end(of: first, within: .zero) == end)
                    #expect(try await nodes.state() == ["2", "8", "98", "2"])
                }
            }
        }
    }

    @Test("F3: a step that comes late finds itself barred, and is not done")
    func late() async throws {
        try await OrderSaga.withNodes { nodes in
            try await nodes.test.withConfigurationFile(Self.section) { path in
                let sagas = try nodes.sagas { $0.lease = .seconds(1) }
                let first = try await sagas.start(OrderSaga.definition(), input: #"{"item": 7, "amount": 1}"#).id
                try await withProgram(path, "saga_before_step=2*off->1*stop->off") { program in
                    try await wait(for: "the worker's standstill") { program.isStopped }
                    try await sagas.cancel(first, reason: "a test")
                    let end = try await nodes.withWorker(sagas) { try await sagas.end(of: first, within: .seconds(30)) }
                    #expect(end.state == .compensated && end.error?.contains("sagaCancelled") == true, "\(end)")
                    #expect(try await nodes.state() == ["0", "10", "100", "0"])
                    program.signal(SIGCONT)
                    let second = try await sagas.start(OrderSaga.definition(), input: #"{"item": 7, "amount": 1}"#).id
                    #expect(try await sagas.end(of: second, within: .seconds(30)).state == .completed)
                    #expect(try await sagas.end(of: first, within: .zero) == end)
                    #expect(try await nodes.state() == ["1", "9", "99", "1"])
                    #expect(try await nodes.test.value("n3", "SELECT status FROM tandem.saga_step WHERE saga_id = '\(first)' AND op = 'd'") == "b")
                }
            }
        }
    }
}
