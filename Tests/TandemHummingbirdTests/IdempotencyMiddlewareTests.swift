import HTTPTypes
import Hummingbird
import HummingbirdTesting
import NIOCore
import TandemCluster
import TandemCore
import TandemIdempotency
import TandemPostgres
import TandemTestSupport
import TandemTransactions
import Testing

@testable import TandemHummingbird

@Suite("The middleware of idempotency keys")
struct IdempotencyMiddlewareTests {
    private static let key = HTTPField.Name("Idempotency-Key") ?? .accept
    private static let replayed = HTTPField.Name("Idempotent-Replayed") ?? .accept

    private func withService<Value: Sendable>(
        _ change: (inout IdempotencyMiddleware<BasicRequestContext>.Options) -> Void = { _ in },
        _ body: @escaping @Sendable (TestCluster, any TestClientProtocol) async throws -> Value
    ) async throws -> Value {
        try await withCluster(1, modules: [.idempotency]) { test in
            try await sql(
                try test.superuser("n1"), "CREATE TABLE payment (id serial PRIMARY KEY, amount int)", "GRANT ALL ON payment, payment_id_seq TO tandem")
            var options = IdempotencyMiddleware<BasicRequestContext>.Options()
            change(&options)
            let idempotency = Idempotency(test.cluster, on: "n1"), node = test.cluster["n1"]
            let router = Router()
            let group = router.group("payments").add(
                middleware: IdempotencyMiddleware(idempotency, options: options) { request, _ in "shop \(request.uri.path)" })
            group.post { request, _ in
                let amount = Int(String(buffer: try await request.body.collect(upTo: 1000))) ?? 0
                if amount == 13 { return Response(status: .notFound) }
                let insert: SQL = "INSERT INTO payment (amount) VALUES (\(amount)) RETURNING id"
                let id: Int
                if let branch = Idempotency.branch {
                    id = try await branch.query(insert, as: Int.self)[0]
                } else {
                    id = try await node.query(insert, as: Int.self)[0]
                    try await Idempotency.currentClaim?.advance(to: "inserted")
                }
                if amount == 500 { return Response(status: .serviceUnavailable) }
                if amount == 501 { throw HTTPError(.internalServerError) }
                return Response(status: .created, headers: [.location: "/payments/\(id)"], body: .init(byteBuffer: ByteBuffer(string: "payment \(id)")))
            }
            let app = Application(router: router)
            return try await app.test(.live) { client in try await body(test, client) }
        }
    }

    private func post(_ client: any TestClientProtocol, _ amount: Int, _ key: String?) async throws -> TestResponse {
        try await client.execute(
            uri: "/payments", method: .post, headers: key.map { [Self.key: $0] } ?? [:], body: ByteBuffer(string: "\(amount)"), testCallback: { $0 })
    }

    @Test("a request that is sent again is answered as before, and marked; without a key it is refused; with another body, too")
    func once() async throws {
        try await withService { test, client in
            let first = try await post(client, 5, "a"), again = try await post(client, 5, "a")
            #expect(first.status == .created && first.headers[Self.replayed] == nil)
            #expect(again.status == .created && again.body == first.body && again.headers[.location] == first.headers[.location])
            #expect(again.headers[Self.replayed] == "true")
            #expect(try await post(client, 5, nil).status == .badRequest)
            #expect(try await post(client, 6, "a").status == .unprocessableContent)
            #expect(try await test.count("n1", "payment") == 1)
        }
    }

    @Test("a refusal is stored; a failure of the service frees the key and rolls back")
    func failures() async throws {
        try await withService { test, client in
            #expect(try await post(client, 13, "refused").status == .notFound)
            #expect(try await post(client, 13, "refused").headers[Self.replayed] == "true")
            for (amount, status) in [(500, HTTPResponse.Status.serviceUnavailable), (501, .internalServerError)] {
                for _ in 0..<2 {
                    let response = try await post(client, amount, "k\(amount)")
                    #expect(response.status == status && response.headers[Self.replayed] == nil)
                }
            }
            #expect(try await test.count("n1", "payment") == 0)
        }
    }

    @Test("200 of the same at once: one payment, the same bytes for all")
    func storm() async throws {
        try await withService { test, client in
            let bodies = try await withThrowingTaskGroup(of: String.self) { group in
                for _ in 0..<200 {
                    group.addTask {
                        while true {
                            let response = try await self.post(client, 5, "storm")
                            if response.status == .created { return String(buffer: response.body) }
                            try #require(response.status == .conflict && response.headers[.retryAfter] != nil)
                        }
                    }
                }
                return try await group.reduce(into: Set<String>()) { $0.insert($1) }
            }
            #expect(bodies == ["payment 1"])
            #expect(try await test.count("n1", "payment") == 1)
        }
    }

    @Test("with foreign calls the key is claimed; while it is, others are told to wait")
    func phased() async throws {
        try await withService {
            $0.mode = .phased(hold: .seconds(60))
            $0.inProgress = .tooEarly
        } _: { test, client in
            let first = try await post(client, 5, "a"), again = try await post(client, 5, "a")
            #expect(first.status == .created && again.body == first.body && again.headers[Self.replayed] == "true")
            try await test.value(
                "n1",
                """
                SELECT tandem.phased_claim('POST shop /payments', 'held', tandem.fingerprint('POST', '/payments', 'content-type: ', '7'))
                """)
            let waiting = try await post(client, 7, "held")
            #expect(waiting.status == .tooEarly && waiting.headers[.retryAfter] != nil, "\(waiting)")
        }
    }

    @Test("other methods pass, and every status may be another one")
    func options() async throws {
        try await withService {
            $0.missing = .preconditionRequired
            $0.mismatch = .conflict
        } _: { _, client in
            #expect(try await post(client, 5, nil).status == .preconditionRequired)
            _ = try await post(client, 5, "a")
            #expect(try await post(client, 6, "a").status == .conflict)
            let get = try await client.execute(uri: "/payments", method: .get, headers: [:], body: nil, testCallback: { $0.status })
            #expect(get == .notFound)
        }
    }
}
