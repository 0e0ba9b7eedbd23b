import TandemCore
import TandemTestSupport
import Testing

@testable import TandemSagas

@Suite("Sagas as data")
struct SagaTests {
    private let patience = Duration.seconds(30)

    @Test("all steps are done, each with the outputs of those before it")
    func completed() async throws {
        try await OrderSaga.withNodes { nodes in
            let sagas = try nodes.sagas()
            let end = try await nodes.withWorker(sagas) {
                try await sagas.perform(OrderSaga.definition(), input: #"{"item": 7, "amount": 30}"#, within: patience)
            }
            #expect(end.state == .completed && end.error == nil && end.name == "order" && end.version == 1, "\(end)")
            #expect(try await nodes.state() == ["1", "9", "70", "1"])
            #expect(try await nodes.test.value("n3", "SELECT order_id FROM payment") == "1")
        }
    }

    @Test("when the money is refused, stock and order are back")
    func compensated() async throws {
        try await OrderSaga.withNodes { nodes in
            let sagas = try nodes.sagas()
            let end = try await nodes.withWorker(sagas) {
                try await sagas.perform(OrderSaga.definition(), input: #"{"item": 7, "amount": 101}"#, within: patience)
            }
            #expect(end.state == .compensated, "\(end)")
            #expect(end.error?.contains("23514") == true)
            #expect(try await nodes.state() == ["0", "10", "100", "0"])
            #expect(try await nodes.test.value("n2", "SELECT touched FROM stock") == "2")
        }
    }

    @Test("the same key leads to the same saga")
    func key() async throws {
        try await OrderSaga.withNodes { nodes in
            let sagas = try nodes.sagas()
            try await nodes.withWorker(sagas) {
                let first = try await sagas.start(OrderSaga.definition(), input: #"{"item": 7, "amount": 1}"#, key: "a")
                let again = try await sagas.start(OrderSaga.definition(), input: #"{"item": 7, "amount": 1}"#, key: "a")
                let other = try await sagas.start(OrderSaga.definition(), input: #"{"item": 7, "amount": 1}"#, key: "b")
                #expect(first.isNew && !again.isNew && again.id == first.id && other.isNew)
                for id in [first.id, other.id] {
                    let end = try await sagas.end(of: id, within: patience)
                    #expect(end.state == .completed)
                }
            }
            #expect(try await nodes.state() == ["2", "8", "98", "2"])
        }
    }

    @Test("a saga that nobody here has started is taken by whoever runs sagas")
    func elsewhere() async throws {
        try await OrderSaga.withNodes { nodes in
            let starter = try nodes.sagas(), worker = try nodes.sagas(try nodes.test.another())
            let started = try await starter.start(OrderSaga.definition(), input: #"{"item": 7, "amount": 1}"#)
            #expect(try await starter.end(of: started.id, within: .zero).state == .running)
            try await nodes.withWorker(worker) {
                let end = try await starter.end(of: started.id, within: patience)
                #expect(end.state == .completed)
            }
        }
    }
}
