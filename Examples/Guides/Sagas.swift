import Tandem
import TandemIdempotency
import TandemSagas

// The code of the guide "Sagas and keys".

struct Order: Codable, Sendable { var customer, item, amount: Int }

protocol Payments: Sendable {
    func pay(_ amount: Int, key: String) async throws -> String
    func refund(_ payment: String?, key: String) async throws
}

func makeOrderSaga(_ payments: any Payments) -> Saga<Order, Int64> {
    Saga("order", version: 1, deadline: .seconds(600)) { (saga: SagaContext, input: Order) async throws -> Int64 in
        let id = try await saga.step("order", on: "orders") { branch in
            try await branch.query("INSERT INTO orders (customer, amount) VALUES (\(input.customer), \(input.amount)) RETURNING id", as: Int64.self)[0]
        } undo: { branch, id in
            if let id { try await branch.execute("DELETE FROM orders WHERE id = \(id)") }
        }
        try await saga.step("stock", on: "stock") { branch in
            try await branch.execute("UPDATE stock SET count = count - 1 WHERE item = \(input.item) AND count > 0", rows: 1...1)
        } undo: { branch, _ in
            try await branch.execute("UPDATE stock SET count = count + 1 WHERE item = \(input.item)")
        }
        // It may be sent more than once, always under the same key.
        try await saga.call("payment") { key in
            try await payments.pay(input.amount, key: key)
        } undo: { key, payment in
            try await payments.refund(payment, key: key)
        }
        return id
    }
}

func work(_ cluster: Cluster, _ order: Saga<Order, Int64>) async throws {
    let sagas = try Sagas(cluster)
    sagas.register(order)
    try await sagas.run()
}

func placeOrder(_ sagas: Sagas, _ order: Saga<Order, Int64>, request: String) async throws -> Int64 {
    try await sagas.perform(order, input: Order(customer: 1, item: 7, amount: 30), key: request, within: .seconds(30))
}

func pay(_ cluster: Cluster, amount: Int, key: String, body: String) async throws -> IdempotentOutcome {
    let idempotency = Idempotency(cluster, on: "orders")
    return try await idempotency.once(IdempotencyKey(scope: "POST /payments", key: key), RequestFingerprint("POST", "/payments", body)) { branch in
        let id = try await branch.query("INSERT INTO payment (amount) VALUES (\(amount)) RETURNING id", as: Int64.self)[0]
        return StoredResponse(status: 201, body: Array("{\"id\": \(id)}".utf8))
    }
}
