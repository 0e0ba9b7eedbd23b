import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import TandemCluster
import TandemCore
import TandemHTTPSteps
import TandemIdempotency
import TandemPostgres
import TandemSagas
import TandemTestSupport
import TandemTransactions
import Testing

@testable import TandemHummingbird

/// Steps that ask a service, which keeps idempotency keys itself.
@Suite("HTTP steps of sagas")
struct HTTPStepTests {
    private let patience = Duration.seconds(30)

    /// A service that books seats, once a key, and is as bad as it is told to be.
    private final class Service: Sendable {
        /// Statuses that it answers with instead, the first request's first; 0 does the work and then says nothing for long.
        let troubles = Locked<[Int]>([])
        let keys = Locked<[String]>([])

        func next() -> Int? { troubles.withLock { $0.isEmpty ? nil : $0.removeFirst() } }
    }

    private func withService<Value: Sendable>(
        _ troubles: [Int], _ body: @escaping @Sendable (OrderNodes, Service, String) async throws -> Value
    ) async throws -> Value {
        try await OrderSaga.withNodes { nodes in
            let service = Service(), node = nodes.test.cluster["n2"]
            service.troubles.withLock { $0 = troubles }
            let router = Router()
            for (path, change) in [("book", -1), ("free", 1)] {
                router.post("\(path)/:item") { request, context in
                    let key = request.headers[HTTPField.Name("Idempotency-Key") ?? .accept] ?? ""
                    let isNew = service.keys.withLock { keys in
                        defer { keys.append(key) }
                        return !keys.contains(key)
                    }
                    let trouble = service.next()
                    if let trouble, trouble != 0 { return Response(status: .init(code: trouble), headers: [.retryAfter: "1"]) }
                    let body = String(buffer: try await request.body.collect(upTo: 1000)), item = try context.parameters.require("item", as: Int.self)
                    if isNew { try await node.execute("UPDATE stock SET count = count + \(change), touched = touched + 1 WHERE item = \(item)") }
                    // The answer is lost.
                    if trouble == 0 { throw CancellationError() }
                    return Response(status: .ok, body: .init(byteBuffer: ByteBuffer(string: #"{"seat": 12, "of": \#(body)}"#)))
                }
            }
            let app = Application(router: router, configuration: .init(address: .hostname("127.0.0.1", port: 0)))
            return try await app.test(.live) { client in
                let port = try #require(client.port)
                return try await body(nodes, service, "http://127.0.0.1:\(port)")
            }
        }
    }

    private func definition(_ url: String, refuses: Bool = false) -> SagaDefinition {
        var book = SagaDefinition.Step(
            "book",
            .http(.init("POST", "\(url)/book/{input.item}", headers: ["X-Saga": "{saga_id}"], body: #"{"amount": "{input.amount}", "note": "for {saga_id}"}"#)),
            undo: .http(.init("POST", "\(url)/free/{input.item}")))
        book.retry = .init(attempts: 4, base: .milliseconds(1), cap: .milliseconds(5))
        let note = SagaDefinition.Step(
            "note",
            .sql(
                "n1",
                [.init(refuses ? "SELECT 1 / 0" : "INSERT INTO orders (saga, item, amount) VALUES (:saga_id, :book.seat, :book.of.amount)")]),
            undo: SagaDefinition.Undo.none)
        return SagaDefinition("booking", version: 1, steps: [book, note])
    }

    private func end(_ nodes: OrderNodes, _ definition: SagaDefinition) async throws -> SagaSummary {
        let sagas = try nodes.sagas { $0.http = AsyncHTTPStepClient() }
        return try await nodes.withWorker(sagas) { try await sagas.perform(definition, input: #"{"item": 7, "amount": 30}"#, within: patience) }
    }

    @Test("the answer is the step's output, and the request has values and a key")
    func done() async throws {
        try await withService([]) { nodes, service, url in
            let end = try await end(nodes, definition(url))
            #expect(end.state == .completed, "\(end)")
            #expect(try await nodes.test.value("n1", "SELECT item || ' ' || amount FROM orders") == "12 30")
            #expect(service.keys.withLock { $0 } == ["\(end.id)/book/do"])
        }
    }

    @Test("what is not known is asked again under the same key, and happens once", arguments: [[503], [429, 500], [502, 409, 503]])
    func again(_ troubles: [Int]) async throws {
        try await withService(troubles) { nodes, service, url in
            let end = try await end(nodes, definition(url))
            #expect(end.state == .completed, "\(end)")
            #expect(Set(service.keys.withLock { $0 }).count == 1 && service.keys.withLock { $0.count } == troubles.count + 1)
        }
    }

    @Test("what is refused the first time fails the step, and there is nothing to undo; after a doubt there is")
    func refused() async throws {
        try await withService([404]) { nodes, service, url in
            let end = try await end(nodes, definition(url))
            #expect(end.state == .compensated && end.error?.contains("refused with 404") == true, "\(end)")
            #expect(service.keys.withLock { $0 } == ["\(end.id)/book/do"])
        }
        try await withService([503, 404]) { nodes, service, url in
            let end = try await end(nodes, definition(url))
            #expect(end.state == .compensated)
            let keys = ["do", "do", "undo"].map { "\(end.id)/book/\($0)" }
            #expect(service.keys.withLock { $0 } == keys)
        }
    }

    @Test("case 17: a step whose answer never comes is undone, whether or not it happened")
    func unknown() async throws {
        try await withService([0, 503, 503, 503]) { nodes, service, url in
            let end = try await end(nodes, definition(url))
            #expect(end.state == .compensated, "\(end)")
            #expect(service.keys.withLock { $0.last } == "\(end.id)/book/undo")
            let stock = try await nodes.test.value("n2", "SELECT count || ' ' || touched FROM stock")
            #expect(stock == "10 2")
        }
    }

    @Test("a later failure undoes it")
    func undone() async throws {
        try await withService([]) { nodes, service, url in
            let end = try await end(nodes, definition(url, refuses: true))
            #expect(end.state == .compensated, "\(end)")
            let stock = try await nodes.test.value("n2", "SELECT count || ' ' || touched FROM stock")
            #expect(stock == "10 2")
        }
    }

    @Test("a worker that sends no requests says so")
    func noClient() async throws {
        try await withService([]) { nodes, _, url in
            let sagas = try nodes.sagas(), definition = definition(url)
            let end = try await nodes.withWorker(sagas) { try await sagas.perform(definition, input: #"{"item": 7}"#, within: patience) }
            #expect(end.state == .compensated && end.error?.contains("sends no requests") == true, "\(end)")
        }
    }
}
