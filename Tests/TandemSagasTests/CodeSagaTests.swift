import Foundation
import TandemCore
import TandemPostgres
import TandemSagas
import TandemTestSupport
import TandemTransactions
import Testing

@Suite("Sagas in Swift")
struct CodeSagaTests {
    private let patience = Duration.seconds(30)

    struct Order: Codable, Sendable {
        var amount: Int
    }

    struct Refused: Error {}

    /// How often something ran.
    final class Counter: Sendable {
        private let counts = Locked<[String: Int]>([:])

        func add(_ name: String) { counts.withLock { $0[name, default: 0] += 1 } }
        subscript(_ name: String) -> Int { counts.withLock { $0[name] ?? 0 } }
    }

    private static func take(_ saga: SagaContext, _ name: String = "stock", _ counter: Counter = Counter()) async throws {
        try await saga.step(name, on: "n2") { branch in
            counter.add(name)
            return try await branch.execute("UPDATE stock SET count = count - 1, touched = touched + 1 WHERE item = 7", rows: 1...1)
        } undo: { branch, _ in
            try await branch.execute("UPDATE stock SET count = count + 1, touched = touched + 1 WHERE item = 7")
        }
    }

    private static func order(_ counter: Counter = Counter()) -> Saga<Order, Int> {
        Saga("order", version: 1) { saga, input in
            let id = try await saga.step("order", on: "n1") { branch in
                counter.add("order")
                return try await branch.query("INSERT INTO orders (saga, amount) VALUES (\(saga.id.description), \(input.amount)) RETURNING id", as: Int.self)[
                    0]
            } undo: { branch, id in
                if let id { try await branch.execute("DELETE FROM orders WHERE id = \(id)", rows: 1...1) }
            }
            try await take(saga, "stock", counter)
            try await saga.step("payment", on: "n3") { branch in
                counter.add("payment")
                return try await branch.execute("UPDATE purse SET money = money - \(input.amount)")
            } undo: { branch, _ in
                try await branch.execute("UPDATE purse SET money = money + \(input.amount)")
            }
            return id
        }
    }

    @Test("a saga is completed with what its function returns, or all that was done is undone")
    func both() async throws {
        try await OrderSaga.withNodes { nodes in
            let sagas = try nodes.sagas(), order = Self.order()
            try await nodes.withWorker(sagas) {
                let id = try await sagas.perform(order, input: Order(amount: 30), within: patience)
                #expect(id == 1)
                #expect(try await nodes.state() == ["1", "9", "70", "0"])
                let error = await refusal { try await sagas.perform(order, input: Order(amount: 300), within: patience) }
                #expect(error?.code == .sagaCompensated && error?.message.contains("23514") == true, "\(String(describing: error))")
                #expect(try await nodes.state() == ["1", "9", "70", "0"])
            }
        }
    }

    @Test("after a pause the function runs anew, and steps that are done do nothing; values stay the same")
    func again() async throws {
        try await OrderSaga.withNodes { nodes in
            let counter = Counter(), seen = Locked<[String]>([])
            let saga = Saga<Order, String>("pausing", version: 1) { saga, _ in
                counter.add("function")
                let values = "\(try await saga.uuid("u")) \(try await saga.random("r", in: 1...1_000_000)) \(try await saga.now().timeIntervalSince1970)"
                seen.withLock { $0.append(values) }
                try await Self.take(saga, "a", counter)
                let approval = try await saga.signal("approval", as: Order.self)
                try await Self.take(saga, "b", counter)
                return "\(values) \(approval.amount)"
            }
            let sagas = try nodes.sagas()
            sagas.register(saga)
            try await nodes.withWorker(sagas) {
                let id = try await sagas.start(saga, input: Order(amount: 1)).id
                try await wait(for: "its waiting") { try await sagas.list(isWaiting: true).first?.waitsFor == "signal approval" }
                try await sagas.signal("approval", to: id, data: #"{"amount": 12}"#)
                let end = try await sagas.end(of: id, within: patience)
                #expect(end.state == .completed && end.output?.hasSuffix(" 12\"") == true, "\(end)")
            }
            #expect(counter["function"] == 2 && counter["a"] == 1 && counter["b"] == 1)
            #expect(Set(seen.withLock { $0 }).count == 1)
        }
    }

    @Test("steps beside each other all end, and are all undone when one fails; errors of the function turn it back, too")
    func parallel() async throws {
        try await OrderSaga.withNodes { nodes in
            let saga = Saga<Order, Int>("parallel", version: 1) { saga, input in
                async let a: Void = Self.take(saga, "a")
                async let b: Void = Self.take(saga, "b")
                async let c: Void = Self.take(saga, "c")
                _ = try await (a, b, c)
                if input.amount == 0 { throw Refused() }
                return input.amount
            }
            let sagas = try nodes.sagas()
            try await nodes.withWorker(sagas) {
                let value = try await sagas.perform(saga, input: Order(amount: 5), within: patience)
                #expect(value == 5)
                let error = await refusal { try await sagas.perform(saga, input: Order(amount: 0), within: patience) }
                #expect(error?.code == .sagaCompensated && error?.message.contains("Refused") == true)
                let stock = try await nodes.test.value("n2", "SELECT count || ' ' || touched FROM stock")
                #expect(stock == "7 9")
            }
        }
    }

    @Test("behind the pivot there is only forward; a step there waits for an operator when its attempts are used up")
    func pivot() async throws {
        try await OrderSaga.withNodes { nodes in
            let saga = Saga<Order, Int>("pivot", version: 1) { saga, input in
                try await Self.take(saga)
                try await saga.pivot("settle", across: ["n2", "n3"]) { transaction in
                    try await transaction["n2"].execute("UPDATE stock SET count = count - 1 WHERE item = 7", rows: 1...1)
                    return try await transaction["n3"].execute("UPDATE purse SET money = money - \(input.amount)", rows: 1...1)
                }
                return try await saga.retriable("note", on: "n1", retry: .init(attempts: 2, base: .milliseconds(1), cap: .milliseconds(2))) { branch in
                    try await branch.execute("INSERT INTO orders (saga, item) SELECT \(saga.id.description), nullif(money, 70) + 1 / (money - 70) FROM purse")
                }
            }
            let sagas = try nodes.sagas()
            try await nodes.withWorker(sagas) {
                // The pivot fails: back.
                let failed = await refusal { try await sagas.perform(saga, input: Order(amount: 300), within: patience) }
                #expect(failed?.code == .sagaCompensated)
                #expect(try await nodes.state() == ["0", "10", "100", "0"])
                // What comes behind fails, since there is no such table.
                let stuck = await refusal { try await sagas.perform(saga, input: Order(amount: 30), within: patience) }
                #expect(stuck?.code == .sagaStuck)
                #expect(try await nodes.state() == ["0", "8", "70", "0"])
                let id = try #require(try await sagas.list([.stuckForward]).first?.id)
                try await sagas.resolve("note", of: id, output: "1", reason: "a test")
                #expect(try await sagas.end(of: id, within: patience).state == .completed)
                #expect(try await nodes.test.prepared() == [])
            }
        }
    }

    @Test("a call outside is undone whether or not anybody knows that it happened, and gets the same key each time")
    func calls() async throws {
        try await OrderSaga.withNodes { nodes in
            let keys = Locked<[String]>([]), undone = Locked<[String]>([])
            func saga(_ name: String, answers: Bool) -> Saga<Order, Int> {
                Saga(name, version: 1) { saga, _ in
                    let answer = try await saga.call("ask", retry: .init(attempts: 3, base: .milliseconds(1), cap: .milliseconds(2))) { key in
                        keys.withLock { $0.append(key) }
                        if !answers { throw Refused() }
                        return 7
                    } undo: { key, answer in
                        undone.withLock { $0.append("\(key) \(answer.map { "\($0)" } ?? "unknown")") }
                    }
                    throw TandemError(.statementFailed, "the end of it: \(answer)")
                }
            }
            let sagas = try nodes.sagas()
            try await nodes.withWorker(sagas) {
                for (name, answers) in [("known", true), ("unknown", false)] {
                    let error = await refusal { try await sagas.perform(saga(name, answers: answers), input: Order(amount: 1), within: patience) }
                    #expect(error?.code == .sagaCompensated)
                }
            }
            #expect(keys.withLock { $0.count } == 4 && Set(keys.withLock { $0 }).count == 2)
            let endings = undone.withLock { $0.map { $0.split(separator: "/").last.map(String.init) ?? "" } }
            #expect(endings == ["undo 7", "undo unknown"])
        }
    }

    @Test("a function whose steps no longer match parks, and names them; with the right one it goes on")
    func mismatch() async throws {
        try await OrderSaga.withNodes { nodes in
            func saga(_ step: String) -> Saga<Order, Int> {
                Saga("changing", version: 1) { saga, _ in
                    try await Self.take(saga, step)
                    return try await saga.signal("go", as: Int.self)
                }
            }
            let first = try nodes.sagas()
            let id = try await nodes.withWorker(first) {
                let id = try await first.start(saga("reserve"), input: Order(amount: 1)).id
                try await wait(for: "its waiting") { try await first.list(isWaiting: true).first?.waitsFor == "signal go" }
                return id
            }
            let second = try nodes.sagas(try nodes.test.another())
            second.register(saga("book"))
            try await nodes.withWorker(second) {
                try await second.signal("go", to: id, data: "5")
                let end = try await second.end(of: id, within: patience)
                #expect(end.state == .stuckForward, "\(end)")
                #expect(end.error?.contains("reserve are recorded") == true && end.error?.contains("asked for were book") == true, "\(end)")
            }
            #expect(try await nodes.test.value("n2", "SELECT count FROM stock") == "9")
            let third = try nodes.sagas(try nodes.test.another())
            third.register(saga("reserve"))
            try await nodes.withWorker(third) {
                try await third.retry(id, reason: "the right version runs again")
                #expect(try await third.end(of: id, within: patience).state == .completed)
            }
        }
    }

    @Test("past the pivot a wish to cancel and the deadline mean nothing: the saga goes on forward", arguments: [true, false])
    func pastPivot(_ isCancelled: Bool) async throws {
        try await OrderSaga.withNodes { nodes in
            var saga = Saga<Order, Int>("late", version: 1) { saga, input in
                try await Self.take(saga)
                try await saga.pivot("settle", across: ["n3"]) { try await $0["n3"].execute("UPDATE purse SET money = money - 1") }
                let go = try await saga.signal("go", as: Int.self)
                try await saga.retriable("note", on: "n1") { try await $0.execute("INSERT INTO orders (saga, item) VALUES (\(saga.id.description), \(go))") }
                return go
            }
            if !isCancelled { saga.deadline = .seconds(3600) }
            let chosen = saga, sagas = try nodes.sagas()
            try await nodes.withWorker(sagas) {
                let id = try await sagas.start(chosen, input: Order(amount: 1)).id
                try await wait(for: "its waiting") { try await sagas.list(isWaiting: true).first?.waitsFor == "signal go" }
                if isCancelled {
                    try await sagas.cancel(id, reason: "a test")
                } else {
                    // A short one could pass before the pivot.
                    _ = try await nodes.test.value("n1", "UPDATE tandem.saga SET deadline_at = clock_timestamp() - interval '1 s' RETURNING id")
                }
                try await sagas.signal("go", to: id, data: "9")
                let end = try await sagas.end(of: id, within: patience)
                #expect(end.state == .completed && end.output == "9", "\(end)")
                #expect(try await nodes.state() == ["1", "9", "99", "0"])
            }
        }
    }

    @Test("steps that follow each other beside one that fails are all found and undone")
    func branches() async throws {
        try await OrderSaga.withNodes { nodes in
            let saga = Saga<Order, Int>("branches", version: 1) { saga, _ in
                async let chain: Void = {
                    try await Self.take(saga, "a1")
                    try await Self.take(saga, "a2")
                }()
                async let failing = saga.step("b", on: "n3", undo: .none) { branch in
                    // Once the others are there.
                    try await wait(for: "a2") { try await nodes.test.count("n2", "tandem.saga_step WHERE saga_id = '\(saga.id)' AND step = 'a2'") == 1 }
                    return try await branch.execute("UPDATE purse SET money = -1")
                }
                _ = try await (failing, chain)
                return 1
            }
            let sagas = try nodes.sagas()
            try await nodes.withWorker(sagas) {
                let error = await refusal { try await sagas.perform(saga, input: Order(amount: 1), within: patience) }
                let stock = try await nodes.test.value("n2", "SELECT count || ' ' || touched FROM stock")
                #expect(error?.code == .sagaCompensated && stock == "10 4", "\(String(describing: error))")
            }
        }
    }

    @Test("a function that throws before it has asked for all that is recorded does not turn back")
    func throwing() async throws {
        try await OrderSaga.withNodes { nodes in
            func saga(throwing isThrowing: Bool) -> Saga<Order, Int> {
                Saga("throwing", version: 1) { saga, _ in
                    if isThrowing { throw Refused() }
                    try await Self.take(saga)
                    return try await saga.signal("go", as: Int.self)
                }
            }
            let first = try nodes.sagas()
            let id = try await nodes.withWorker(first) {
                let id = try await first.start(saga(throwing: false), input: Order(amount: 1)).id
                try await wait(for: "its waiting") { try await first.list(isWaiting: true).first?.waitsFor == "signal go" }
                return id
            }
            let second = try nodes.sagas(try nodes.test.another())
            second.register(saga(throwing: true))
            try await nodes.withWorker(second) {
                try await second.signal("go", to: id, data: "5")
                let end = try await second.end(of: id, within: patience)
                #expect(end.state == .stuckForward && end.error?.contains("stock are recorded") == true, "\(end)")
            }
        }
    }

    @Test("a worker claims only what it has registered, and a saga keeps its version")
    func versions() async throws {
        try await OrderSaga.withNodes { nodes in
            func saga(_ version: Int) -> Saga<Order, Int> { Saga("versioned", version: version) { _, _ in version } }
            let old = try nodes.sagas(try nodes.test.another()), new = try nodes.sagas(try nodes.test.another()), starter = try nodes.sagas()
            old.register(saga(3))
            new.register(saga(4))
            let three = try await starter.start(saga(3), input: Order(amount: 1)).id, four = try await starter.start(saga(4), input: Order(amount: 1)).id
            try await nodes.withWorker(new) {
                let (newer, older) = (try await new.end(of: four, within: patience), try await new.end(of: three, within: .zero))
                #expect(newer.output == "4" && older.state == .running)
            }
            try await nodes.withWorker(old) { try await wait(for: "the older one") { try await old.end(of: three, within: .zero).output == "3" } }
        }
    }
}
