package import TandemCluster
import TandemCore
package import TandemSagas

/// Three nodes, an order, its stock and its money: the saga of the tests.
package enum OrderSaga {
    /// The definition.
    package static func definition(_ change: (inout SagaDefinition) -> Void = { _ in }) -> SagaDefinition {
        var definition = SagaDefinition(
            "order", version: 1,
            steps: [
                .init(
                    "order",
                    .sql("n1", [.init("INSERT INTO orders (saga, item, amount) VALUES (:saga_id, :input.item, :input.amount) RETURNING id")]),
                    undo: .sql([.init("DELETE FROM orders WHERE id = :output.id", expectedRows: 1...1)])),
                .init(
                    "stock", .sql("n2", [.init("UPDATE stock SET count = count - 1, touched = touched + 1 WHERE item = :input.item", expectedRows: 1...1)]),
                    undo: .sql([.init("UPDATE stock SET count = count + 1, touched = touched + 1 WHERE item = :input.item")])),
                .init(
                    "payment",
                    .sql(
                        "n3",
                        [
                            .init("UPDATE purse SET money = money - :input.amount WHERE id = 1"),
                            .init("INSERT INTO payment (saga, order_id, amount) VALUES (:saga_id, :order.id, :input.amount)"),
                        ]),
                    undo: .sql([.init("UPDATE purse SET money = money + :input.amount WHERE id = 1"), .init("DELETE FROM payment WHERE saga = :saga_id")])),
            ])
        for index in definition.steps.indices { definition.steps[index].retry = .init(attempts: 4, base: .milliseconds(5), cap: .milliseconds(50)) }
        change(&definition)
        return definition
    }

    /// Gives the body three nodes with the tables.
    package static func withNodes<Value>(
        on nodes: PostgresNodes = .shared, modules: [SchemaModule] = [], _ change: (inout ClusterConfiguration) -> Void = { _ in },
        _ body: (OrderNodes) async throws -> Value
    ) async throws -> Value {
        try await withCluster(3, on: nodes, modules: [.sagas] + modules, change) { test in
            try await sql(
                try test.superuser("n1"), "CREATE TABLE orders (id serial PRIMARY KEY, saga uuid UNIQUE, item int, amount int)",
                "GRANT ALL ON orders, orders_id_seq TO tandem")
            try await sql(
                try test.superuser("n2"), "CREATE TABLE stock (item int PRIMARY KEY, count int CHECK (count >= 0), touched int DEFAULT 0)",
                "GRANT ALL ON stock TO tandem", "INSERT INTO stock VALUES (7, 10)")
            try await sql(
                try test.superuser("n3"), "CREATE TABLE purse (id int PRIMARY KEY, money int CHECK (money >= 0))",
                "CREATE TABLE payment (saga uuid PRIMARY KEY, order_id int, amount int)", "GRANT ALL ON purse, payment TO tandem",
                "INSERT INTO purse VALUES (1, 100)")
            return try await body(OrderNodes(test: test))
        }
    }
}

/// The nodes of the tests' saga.
package struct OrderNodes: Sendable {
    package let test: TestCluster

    /// Orders, stock, money and payments.
    package func state() async throws -> [String?] {
        [
            try await test.value("n1", "SELECT count(*) FROM orders"), try await test.value("n2", "SELECT count FROM stock WHERE item = 7"),
            try await test.value("n3", "SELECT money FROM purse"), try await test.value("n3", "SELECT count(*) FROM payment"),
        ]
    }

    /// Sagas of a process of its own. The lease is long: a test that waits for a takeover sets its own, and no other one is to see any, however slow the machine is.
    package func sagas(_ cluster: Cluster? = nil, _ change: (inout SagaOptions) -> Void = { _ in }) throws -> Sagas {
        var options = SagaOptions()
        options.lease = .seconds(60)
        options.poll = .milliseconds(20)
        options.concurrency = 8
        change(&options)
        return try Sagas(cluster ?? test.cluster, options: options)
    }

    /// Runs sagas while the body runs.
    package func withWorker<Value>(_ sagas: Sagas, _ body: () async throws -> Value) async throws -> Value {
        try await running({ try await sagas.run() }, body)
    }
}
