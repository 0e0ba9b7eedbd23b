import TandemCore
import TandemPostgres
import TandemSagas
import TandemTestSupport
import Testing

/// Sagas of other forms than the order saga, over its nodes.
@Suite("Courses of sagas")
struct SagaCourseTests {
    private let patience = Duration.seconds(30)
    private let input = #"{"item": 7, "amount": 30}"#

    private func take(_ name: String, undo: SagaDefinition.Undo = .sql([.init("UPDATE stock SET count = count + 1, touched = touched + 1 WHERE item = 7")]))
        -> SagaDefinition.Step
    {
        .init(name, .sql("n2", [.init("UPDATE stock SET count = count - 1, touched = touched + 1 WHERE item = 7")]), undo: undo)
    }

    private func refused(_ name: String) -> SagaDefinition.Step {
        .init(name, .sql("n3", [.init("UPDATE purse SET money = -1")]), undo: SagaDefinition.Undo.none)
    }

    private func end(_ nodes: OrderNodes, _ steps: [SagaDefinition.Step], _ change: (inout SagaDefinition) -> Void = { _ in }) async throws -> SagaSummary {
        var definition = SagaDefinition("test", version: 1, steps: steps)
        change(&definition)
        let chosen = definition, sagas = try nodes.sagas()
        return try await nodes.withWorker(sagas) { try await sagas.perform(chosen, input: input, within: patience) }
    }

    @Test("steps with the same needs run beside each other, and all are undone when one fails")
    func parallel() async throws {
        try await OrderSaga.withNodes { nodes in
            var steps = [take("a"), take("b"), take("c"), refused("d"), take("e")]
            for index in 0..<4 { steps[index].needs = [] }
            steps[3].needs = ["a", "b"]
            steps[4].needs = ["d"]
            let end = try await end(nodes, steps)
            #expect(end.state == .compensated)
            #expect(try await nodes.state() == ["0", "10", "100", "0"])
            #expect(try await nodes.test.value("n2", "SELECT touched FROM stock") == "6")
        }
    }

    @Test("a step over several nodes commits on all of them or on none, once")
    func twoPhase() async throws {
        try await OrderSaga.withNodes { nodes in
            var pivot = SagaDefinition.Step(
                "settle",
                .twoPhase([
                    .init("n2", .init("UPDATE stock SET count = count - 1 WHERE item = :input.item", expectedRows: 1...1)),
                    .init("n3", .init("UPDATE purse SET money = money - :input.amount", expectedRows: 1...1)),
                ]), undo: nil)
            pivot.isPivot = true
            var after = SagaDefinition.Step("note", .sql("n1", [.init("INSERT INTO orders (saga) VALUES (:saga_id)")]), undo: nil)
            after.isRetriable = true
            let first = try await end(nodes, [take("a"), pivot, after])
            #expect(first.state == .completed, "\(first)")
            #expect(try await nodes.state() == ["1", "8", "70", "0"])
            // The second one has not enough money: the pivot fails, and what was before it is undone.
            try await nodes.test.value("n3", "UPDATE purse SET money = 10")
            let second = try await end(nodes, [take("a"), pivot, after])
            #expect(second.state == .compensated)
            #expect(try await nodes.state() == ["1", "8", "10", "0"])
            #expect(try await nodes.test.prepared() == [])
        }
    }

    @Test("behind the pivot a step is tried again whatever happens, and then waits for an operator, who can resolve it")
    func stuckForward() async throws {
        try await OrderSaga.withNodes { nodes in
            var pivot = take("pay", undo: .none)
            (pivot.isPivot, pivot.undo) = (true, nil)
            var after = SagaDefinition.Step("note", .sql("n3", [.init("UPDATE purse SET money = -1 RETURNING id")]), undo: nil)
            after.isRetriable = true
            after.retry = .init(attempts: 3, base: .milliseconds(5), cap: .milliseconds(10))
            var last = SagaDefinition.Step("last", .sql("n1", [.init("INSERT INTO orders (saga, item) VALUES (:saga_id, :note.id)")]), undo: nil)
            last.isRetriable = true
            let definition = SagaDefinition("test", version: 1, steps: [pivot, after, last]), sagas = try nodes.sagas()
            try await nodes.withWorker(sagas) {
                let id = try await sagas.start(definition).id
                #expect(try await sagas.end(of: id, within: patience).state == .stuckForward)
                #expect(try await sagas.list([.stuckForward]).map(\.id) == [id])
                let refusal = await refusal { try await sagas.cancel(id, reason: "a test") }
                #expect(refusal?.code == .refusedBySafetyRule)
                try await sagas.retry(id, reason: "a test")
                try await wait(for: "the next three attempts") {
                    let journal = try await sagas.describe(id).journal
                    return journal.filter { $0.what == "failed" }.count == 6
                }
                try await wait(for: "being stuck again") { try await sagas.end(of: id, within: .zero).state == .stuckForward }
                try await sagas.resolve("note", of: id, output: #"{"id": 5}"#, reason: "seen to by hand")
                #expect(try await sagas.end(of: id, within: patience).state == .completed)
                let description = try await sagas.describe(id)
                #expect(description.journal.map(\.what) == ["failed", "failed", "failed", "retry", "failed", "failed", "failed", "resolve"])
                #expect(description.journal.last?.detail?.contains("seen to by hand") == true && description.journal.last?.who == "tandem")
                #expect(try await nodes.test.value("n1", "SELECT item FROM orders") == "5")
            }
        }
    }

    @Test(
        "a step that cannot be undone stops those before it, survives restarts, and is skipped by an operator", arguments: SagaDefinition.UndoFailure.allCases)
    func stuckCompensation(_ policy: SagaDefinition.UndoFailure) async throws {
        try await OrderSaga.withNodes { nodes in
            let steps = [
                take("one"), take("two", undo: .sql([.init("UPDATE stock SET count = -1")])), take("three"), take("four"), refused("five"),
            ]
            let definition = SagaDefinition("test", version: 1, undoFailure: policy, steps: steps), sagas = try nodes.sagas()
            let id = try await sagas.start(definition).id
            // Its attempts are used up before.
            try await sql(
                try nodes.test.superuser("n1"), "INSERT INTO tandem.saga_journal (saga_id, step, what, attempt) VALUES ('\(id)', 'two', 'undo_failed', 24)",
                "UPDATE tandem.saga SET epoch = 1 WHERE id = '\(id)'")
            let stuck = try await nodes.withWorker(sagas) { try await sagas.end(of: id, within: patience) }
            #expect(stuck.state == .stuckCompensation)
            let again = try nodes.sagas(try nodes.test.another())
            try await nodes.withWorker(again) {
                #expect(try await again.list([.stuckCompensation]).map(\.id) == [id])
                let states = try await again.describe(id).steps.map(\.state)
                #expect(states == [policy == .halt ? "done" : "undone", "done", "undone", "undone", "barred"])
                try await again.skip("two", of: id, reason: "a test")
                #expect(try await again.end(of: id, within: patience).state == .compensated)
                #expect(try await again.describe(id).steps.map(\.state) == ["undone", "done", "undone", "undone", "barred"])
            }
            #expect(try await nodes.test.value("n2", "SELECT count FROM stock") == "9")
        }
    }

    @Test("a saga waits for a signal while nobody runs it, and has its data; the first one of a name counts")
    func signal() async throws {
        try await OrderSaga.withNodes { nodes in
            let definition = SagaDefinition(
                "test", version: 1,
                steps: [
                    take("a"), .init("approval", .signal("approved", timeout: .seconds(600)), undo: nil),
                    .init("b", .sql("n1", [.init("INSERT INTO orders (saga, item) VALUES (:saga_id, :approval.by)")]), undo: SagaDefinition.Undo.none),
                    .init("end", .signal("end", timeout: nil), undo: nil),
                ])
            let sagas = try nodes.sagas()
            try await nodes.withWorker(sagas) {
                let id = try await sagas.start(definition).id
                try await wait(for: "its waiting") { try await sagas.list(isWaiting: true).first?.waitsFor == "signal approved" }
                #expect(try await sagas.end(of: id, within: .zero).owner == nil)
                #expect(try await sagas.signal("other", to: id))
                #expect(try await sagas.signal("approved", to: id, data: #"{"by": 12}"#))
                #expect(try await !sagas.signal("approved", to: id, data: #"{"by": 13}"#))
                #expect(try await sagas.signal("end", to: id))
                #expect(try await sagas.end(of: id, within: patience).state == .completed)
                #expect(try await nodes.test.value("n1", "SELECT item FROM orders") == "12")
                let refusal = await refusal { try await sagas.signal("approved", to: id) }
                #expect(refusal?.code == .refusedBySafetyRule)
            }
        }
    }

    @Test("a signal that does not come in time fails its step, and a sleep ends")
    func time() async throws {
        try await OrderSaga.withNodes { nodes in
            let end = try await end(
                nodes,
                [take("a"), .init("pause", .timer(.milliseconds(100)), undo: nil), .init("approval", .signal("x", timeout: .milliseconds(200)), undo: nil)])
            #expect(end.state == .compensated && end.error?.contains("deadlineExceeded") == true, "\(end)")
            #expect(try await nodes.state() == ["0", "10", "100", "0"])
        }
    }

    @Test("when one of two waits beside each other is over without its signal, the other one is not waited for")
    func twoWaits() async throws {
        try await OrderSaga.withNodes { nodes in
            var first = SagaDefinition.Step("x", .signal("x", timeout: .milliseconds(2500)), undo: nil)
            var second = SagaDefinition.Step("y", .signal("y", timeout: nil), undo: nil)
            (first.needs, second.needs) = ([], [])
            let end = try await end(nodes, [first, second])
            #expect(end.state == .compensated, "\(end)")
        }
    }

    @Test("what an operator resolved on the way forward is undone on the way back, also by another worker")
    func resolvedThenBack() async throws {
        try await OrderSaga.withNodes { nodes in
            var a = take("a")
            a.retry = .init(attempts: 1)
            let definition = SagaDefinition(
                "test", version: 1, steps: [a, .init("go", .signal("go", timeout: nil), undo: nil), refused("d")])
            let first = try nodes.sagas()
            let id = try await nodes.withWorker(first) {
                let id = try await first.start(definition, input: input).id
                try await wait(for: "its waiting") { try await first.list(isWaiting: true).first?.waitsFor == "signal go" }
                // It has happened, and its own record counts.
                try await first.resolve("a", of: id, output: "null", reason: "a test")
                try await wait(for: "its waiting again") { try await first.list(isWaiting: true).first?.waitsFor == "signal go" }
                return id
            }
            try await sql(
                try nodes.test.superuser("n1"), "UPDATE tandem.saga SET state = 'compensating', epoch = 7, due_at = now() WHERE id = '\(id)'",
                "INSERT INTO tandem.saga_journal (saga_id, what, output) VALUES ('\(id)', 'turned_back', '[\"a\"]')")
            let second = try nodes.sagas(try nodes.test.another())
            try await nodes.withWorker(second) {
                let end = try await second.end(of: id, within: patience)
                let stock = try await nodes.test.value("n2", "SELECT count || ' ' || touched FROM stock")
                #expect(end.state == .compensated && stock == "10 2")
            }
        }
    }

    @Test("definitions that could not be kept are refused")
    func defects() {
        var pivot = SagaDefinition.Step("charge", .http(.init("POST", "http://x/")), undo: nil)
        pivot.isPivot = true
        #expect(SagaDefinition("t", version: 1, steps: [pivot]).defects().map(\.key) == ["pivot"])
        let mixed = SagaDefinition.Step("a", .http(.init("POST", "http://x/")), undo: .sql([.init("SELECT 1")]))
        #expect(SagaDefinition("t", version: 1, steps: [mixed]).defects().map(\.key) == ["undo"])
        let body = SagaDefinition.Step("a", .http(.init("POST", "http://x/", body: "{input}")), undo: SagaDefinition.Undo.none)
        #expect(SagaDefinition("t", version: 1, steps: [body]).defects().map(\.key) == ["http"])
        let unknown = SagaDefinition.Step("a", .sql("n9", [.init("SELECT :b.x")]), undo: SagaDefinition.Undo.none)
        #expect(
            SagaDefinition("t", version: 1, steps: [unknown]).defects(nodes: ["n1"]).map(\.problem) == [
                "there is no node `n9`", "there is no value `b.x` here",
            ])
    }

    @Test("a saga whose deadline passes turns back")
    func deadline() async throws {
        try await OrderSaga.withNodes { nodes in
            let end = try await end(nodes, [take("a"), .init("approval", .signal("never", timeout: nil), undo: nil)]) { $0.deadline = .milliseconds(500) }
            #expect(end.state == .compensated && end.error?.contains("deadline has passed") == true, "\(end)")
            #expect(try await nodes.state() == ["0", "10", "100", "0"])
        }
    }

    @Test("what one saga has locked no other takes until it has ended")
    func lock() async throws {
        try await OrderSaga.withNodes { nodes in
            var step = take("a")
            step.lock = "customer/{input.item}"
            var failing = step
            failing.failsWhenLocked = true
            let waiting = SagaDefinition("test", version: 1, steps: [step, .init("go", .signal("go", timeout: nil), undo: nil)])
            let impatient = SagaDefinition("impatient", version: 1, steps: [failing]), patient = SagaDefinition("patient", version: 1, steps: [step])
            let sagas = try nodes.sagas()
            try await nodes.withWorker(sagas) {
                let id = try await sagas.start(waiting, input: input).id
                try await wait(for: "its waiting") { try await sagas.list(isWaiting: true).first?.waitsFor == "signal go" }
                let refused = try await sagas.perform(impatient, input: input, within: patience)
                #expect(refused.state == .compensated && refused.error?.contains("sagaResourceLocked") == true)
                #expect(try await sagas.perform(impatient, input: #"{"item": 8}"#, within: patience).state == .completed)
                let other = try await sagas.start(patient, input: input).id
                try await wait(for: "its first attempt") { try await sagas.describe(other).journal.contains { $0.what == "failed" } }
                try await sagas.signal("go", to: id)
                #expect(try await sagas.end(of: id, within: patience).state == .completed)
                #expect(try await sagas.end(of: other, within: patience).state == .completed)
                try await wait(for: "the locks to be gone") { try await nodes.test.count("n2", "tandem.saga_lock") == 0 }
            }
        }
    }

    @Test("an output or an input beyond the limit is a named error")
    func tooLarge() async throws {
        try await OrderSaga.withNodes { nodes in
            let end = try await end(nodes, [.init("a", .sql("n1", [.init("SELECT repeat('x', 300000) AS text")]), undo: SagaDefinition.Undo.none)])
            #expect(end.state == .compensated && end.error?.contains("resultTooLarge") == true, "\(end)")
            let sagas = try nodes.sagas(), long = "\"" + String(repeating: "x", count: 300_000) + "\""
            let refusal = await refusal { try await sagas.start(OrderSaga.definition(), input: long) }
            #expect(refusal?.code == .resultTooLarge)
        }
    }

    @Test("values arrive digit for digit")
    func values() async throws {
        try await OrderSaga.withNodes { nodes in
            let definition = SagaDefinition(
                "test", version: 1,
                steps: [
                    .init(
                        "a",
                        .sql(
                            "n1",
                            [
                                .init(
                                    "SELECT :input.big::numeric AS big, :input.text::text AS text, :input.list::jsonb AS list, :input.no::text IS NULL AS empty, :input.rows.1.x::int8 AS x, 'a:b'::text AS quoted"
                                )
                            ]), undo: SagaDefinition.Undo.none),
                    .init(
                        "b", .sql("n2", [.init("SELECT :a.big::text AS big, :a.list::text AS list, :a.x::int8 + 1 AS x, :a.empty::bool AS empty")]),
                        undo: SagaDefinition.Undo.none),
                ])
            let sagas = try nodes.sagas()
            let text = #"{"big": 12345678901234567890.10, "text": "it's", "list": [1.50, {"a": null}], "rows": [{"x": 1}, {"x": 9007199254740993}]}"#
            let end = try await nodes.withWorker(sagas) { try await sagas.perform(definition, input: text, within: patience) }
            #expect(end.output == #"{"big":"12345678901234567890.10","list":"[1.50,{\"a\":null}]","x":9007199254740994,"empty":true}"#, "\(end)")
        }
    }
}
