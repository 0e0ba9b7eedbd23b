import MetricsTestKit
import TandemCluster
import TandemCore
import TandemPostgres
import TandemSagas
import TandemTestSupport
import TandemTransactions
import Testing

@testable import TandemIdempotency

@Suite("Requests that happen once")
struct IdempotencyTests {
    private let key = IdempotencyKey(scope: "tests/POST /payments", key: "k1")
    private let print = RequestFingerprint("POST", "/payments", #"{"amount": 5}"#)

    private func withNodes<Value>(_ body: (TestCluster, Idempotency) async throws -> Value) async throws -> Value {
        try await withCluster(3, modules: [.sagas, .idempotency]) { test in
            try await sql(
                try test.superuser("n1"), "CREATE TABLE payment (id serial PRIMARY KEY, amount int)", "GRANT ALL ON payment, payment_id_seq TO tandem")
            return try await body(test, Idempotency(test.cluster, on: "n1"))
        }
    }

    private func pay(_ idempotency: Idempotency, _ key: IdempotencyKey? = nil, _ print: RequestFingerprint? = nil) async throws -> IdempotentOutcome {
        try await idempotency.once(key ?? self.key, print ?? self.print) { branch in
            let id = try await branch.query("INSERT INTO payment (amount) VALUES (5) RETURNING id", as: Int.self)[0]
            return StoredResponse(status: 201, headers: [.init("Location", "/payments/\(id)"), .init("X", "ä"), .init("X", "2")], body: [0, 255, UInt8(id)])
        }
    }

    @Test("a second request gets the same bytes, and does nothing; another body is refused; an error frees the key")
    func once() async throws {
        try await withNodes { test, idempotency in
            guard case .first(let response) = try await pay(idempotency) else { throw TestFailure("it is not the first") }
            #expect(try await pay(idempotency) == .replayed(response))
            let mismatch = await refusal { try await pay(idempotency, nil, RequestFingerprint("POST", "/payments", "other")) }
            #expect(mismatch?.code == .idempotencyMismatch && mismatch?.effect == .rolledBack)
            #expect(try await test.count("n1", "payment") == 1)
            let other = IdempotencyKey(scope: key.scope, key: "k2")
            let failed = await refusal {
                try await idempotency.once(other, print) { branch in
                    try await branch.execute("INSERT INTO payment (amount) VALUES (1)")
                    return StoredResponse(status: try await branch.execute("SELECT 1 / 0"))
                }
            }
            #expect(failed?.sqlState?.rawValue == "22012")
            guard case .first = try await pay(idempotency, other) else { throw TestFailure("the key is not free") }
            #expect(try await test.count("n1", "payment") == 2)
        }
    }

    @Test("requests and removed keys are counted, and the doctor sees that nobody removes any")
    func operated() async throws {
        let metrics = TestMetrics(), labels = [("cluster", "test"), ("node", "n1")]
        try await withCluster(1, modules: [.sagas, .idempotency], { $0.metrics = metrics }) { test in
            let idempotency = Idempotency(test.cluster, on: "n1"), response = StoredResponse(status: 204)
            func total(_ outcome: String) throws -> Int64 {
                try metrics.expectCounter("tandem_idempotency_requests_total", labels + [("outcome", outcome)]).totalValue
            }
            for _ in 0..<3 { _ = try await idempotency.once(key, print, statements: [], response: response) }
            _ = await refusal { try await idempotency.once(key, RequestFingerprint("other"), statements: [], response: response) }
            _ = try await idempotency.claim(IdempotencyKey(scope: "tests", key: "claimed"), print)
            _ = try await idempotency.claim(IdempotencyKey(scope: "tests", key: "claimed"), print)
            #expect(try total("first") == 2 && total("replayed") == 2 && total("mismatch") == 1 && total("in_progress") == 1)
            #expect(try await idempotency.examine().map(\.status) == [.ok])
            try await test.value(
                "n1",
                """
                INSERT INTO tandem.idempotency (scope, key, fingerprint, expires_at)
                SELECT 'old', i::text, sha256(''), now() - interval '2 hours' FROM generate_series(1, 2000) i
                """)
            #expect(try await idempotency.examine().map(\.status) == [.notice])
            #expect(try await idempotency.clean() == 2000)
            #expect(try metrics.expectCounter("tandem_idempotency_keys_removed_total", labels).totalValue == 2000)
            #expect(try await idempotency.examine().map(\.status) == [.ok])
        }
        try await withCluster(1) { test in
            let findings = try await Idempotency(test.cluster, on: "n1").examine()
            #expect(findings.map(\.status) == [.notice])
        }
    }

    @Test("case 20: of 200 that are sent at once and 50 with another body one happens, all get the same bytes, and 50 are refused")
    func storm() async throws {
        try await withNodes { test, idempotency in
            let outcomes = try await withThrowingTaskGroup(of: Result<IdempotentOutcome, TandemError>.self) { group in
                for number in 0..<250 {
                    group.addTask {
                        do {
                            // Who waits for too long asks again, as it is told.
                            while true {
                                let print = number % 5 == 4 ? RequestFingerprint("other") : self.print
                                let outcome = try await self.pay(idempotency, nil, print)
                                if outcome.response != nil { return .success(outcome) }
                            }
                        } catch let error as TandemError {
                            return .failure(error)
                        }
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            let responses = outcomes.compactMap { try? $0.get() }, refused = outcomes.compactMap { if case .failure(let error) = $0 { error } else { nil } }
            // Whichever body was first is the one.
            let count = responses.count
            #expect((count == 200 && refused.count == 50) || (count == 50 && refused.count == 200))
            #expect(Set(responses.compactMap(\.response)).count == 1)
            #expect(responses.filter { if case .first = $0 { true } else { false } }.count == 1)
            #expect(refused.allSatisfy { $0.code == .idempotencyMismatch })
            #expect(try await test.count("n1", "payment") == 1)
        }
    }

    @Test("statements in one message and in two happen once, too")
    func statements() async throws {
        try await withNodes { test, idempotency in
            let insert: SQL = "INSERT INTO payment (amount) VALUES (7) RETURNING id", response = StoredResponse(status: 204)
            #expect(try await idempotency.once(key, print, statements: [insert], response: response) == .first(response))
            #expect(try await idempotency.once(key, print, statements: [insert], response: response) == .replayed(response))
            let other = IdempotencyKey(scope: "s", key: "k")
            func two() async throws -> IdempotentOutcome {
                try await idempotency.once(other, print, statements: [insert]) { results in
                    StoredResponse(status: 201, body: Array((results[0].values[0][0] ?? "").utf8))
                }
            }
            let first = try await two()
            #expect(first == .first(StoredResponse(status: 201, body: Array("2".utf8))))
            #expect(try await two() == .replayed(try #require(first.response)))
            let mismatch = await refusal { try await idempotency.once(key, RequestFingerprint("x"), statements: [insert], response: response) }
            #expect(mismatch?.code == .idempotencyMismatch)
            #expect(try await test.count("n1", "payment") == 2)
        }
    }

    @Test("in a global transaction the key commits with all branches, and a duplicate is told to wait while it is prepared")
    func global() async throws {
        try await withNodes { test, idempotency in
            func transfer() async throws -> IdempotentOutcome {
                try await test.cluster.transaction { transaction in
                    try await idempotency.once(key, print, in: transaction["n1"]) { _ in
                        try await transaction["n1"].execute("UPDATE account SET balance = balance - 5 WHERE id = 1", rows: 1...1)
                        try await transaction["n2"].execute("UPDATE account SET balance = balance + 5 WHERE id = 1", rows: 1...1)
                        return StoredResponse(status: 200)
                    }
                }.value
            }
            #expect(try await transfer() == .first(StoredResponse(status: 200)))
            #expect(try await transfer() == .replayed(StoredResponse(status: 200)))
            #expect(try await test.balance("n1", 1) == TestCluster.balance - 5)
            #expect(try await test.balance("n2", 1) == TestCluster.balance + 5)
            // Somebody else's is prepared and not decided.
            let other = IdempotencyKey(scope: "s", key: "prepared")
            try await sql(
                try test.superuser("n1"), "BEGIN", "SELECT tandem.once_begin('s', 'prepared', tandem.fingerprint('x'))", "PREPARE TRANSACTION 'theirs'")
            let cluster = try test.another { for index in $0.nodes.indices { $0.nodes[index].lockTimeout = .milliseconds(50) } }
            defer { cluster.close() }
            let impatient = Idempotency(cluster, on: "n1")
            let waiting = try await pay(impatient, other, RequestFingerprint("x"))
            #expect(waiting.response == nil)
            let fast = try await impatient.once(other, RequestFingerprint("x"), statements: [], response: StoredResponse(status: 1))
            #expect(fast.response == nil)
            try await test.value("n1", "ROLLBACK PREPARED 'theirs'")
            guard case .first = try await pay(impatient, other, RequestFingerprint("x")) else { throw TestFailure("the key is not free") }
        }
    }

    @Test("F8: a session that dies between the effect and its response leaves nothing, and the key free")
    func crash() async throws {
        try await withNodes { test, idempotency in
            let error = await refusal {
                try await idempotency.once(key, print) { branch in
                    try await branch.execute("INSERT INTO payment (amount) VALUES (5)")
                    let pid = try await branch.query("SELECT pg_backend_pid()", as: Int.self)[0]
                    try await test.value("n1", "SELECT pg_terminate_backend(\(pid))")
                    return StoredResponse(status: 200)
                }
            }
            let count = try await test.count("n1", "payment")
            #expect(error != nil && count == 0)
            guard case .first = try await pay(idempotency) else { throw TestFailure("the key is not free") }
        }
    }

    @Test("a claim is fenced when another one has taken it over, and the recovery point is handed on")
    func claims() async throws {
        try await withNodes { test, idempotency in
            guard case .claimed(let first) = try await idempotency.claim(key, print) else { throw TestFailure("it is not claimed") }
            #expect(first.recoveryPoint == nil)
            guard case .inProgress(let time, nil) = try await idempotency.claim(key, print) else { throw TestFailure("it is claimed twice") }
            #expect(time > .seconds(1))
            try await first.advance(to: "charged", hold: .milliseconds(1))
            try await wait(for: "the end of the hold") {
                guard case .claimed(let second) = try await idempotency.claim(key, print) else { return false }
                #expect(second.recoveryPoint == "charged")
                let advance = await refusal { try await first.advance(to: "late") },
                    complete = await refusal { try await first.complete(StoredResponse(status: 1)) }
                #expect(advance?.code == .idempotencyClaimLost && complete?.code == .idempotencyClaimLost)
                try await second.complete(StoredResponse(status: 201))
                try await second.complete(StoredResponse(status: 201))
                return true
            }
            guard case .replayed(let response) = try await idempotency.claim(key, print) else { throw TestFailure("it is not replayed") }
            #expect(response == StoredResponse(status: 201))
        }
    }

    @Test("a saga does the work once, and its end is the response for whoever asks, also after a crash of the first")
    func saga() async throws {
        try await withNodes { test, idempotency in
            var options = SagaOptions()
            options.poll = .milliseconds(20)
            let sagas = try Sagas(test.cluster, options: options), worker = Task { try await sagas.run() }
            defer { worker.cancel() }
            let definition = SagaDefinition(
                "pay", version: 1,
                steps: [.init("pay", .sql("n1", [.init("INSERT INTO payment (amount) VALUES (:input.amount) RETURNING id")]), undo: SagaDefinition.Undo.none)])
            // Somebody has claimed it for a saga, and died before that was started.
            guard case .claimed = try await idempotency.claim(key, print, saga: SagaID.fresh()) else { throw TestFailure("it is not claimed") }
            func ask() async throws -> IdempotentOutcome {
                try await idempotency.perform(key, print, definition, input: #"{"amount": 9}"#, by: sagas, within: .seconds(30)) { summary in
                    StoredResponse(status: summary.state == .completed ? 201 : 409, body: Array((summary.output ?? "").utf8))
                }
            }
            let first = try await ask()
            #expect(first.response == StoredResponse(status: 201, body: Array(#"{"id":1}"#.utf8)))
            #expect(try await ask() == .replayed(try #require(first.response)))
            #expect(try await test.count("n1", "payment") == 1)
        }
    }

    @Test("keys expire, are used anew, and are removed in batches")
    func expiry() async throws {
        try await withNodes { test, idempotency in
            var brief = idempotency
            brief.keep = .milliseconds(1)
            for number in 0..<50 { _ = try await pay(brief, IdempotencyKey(scope: "s", key: "k\(number)")) }
            _ = try await pay(idempotency)
            guard case .first = try await pay(brief, IdempotencyKey(scope: "s", key: "k0")) else { throw TestFailure("an expired key is not free") }
            let fast = try await brief.once(IdempotencyKey(scope: "s", key: "k1"), print, statements: [], response: StoredResponse(status: 1))
            #expect(fast == .first(StoredResponse(status: 1)))
            try await wait(for: "the cleaning") {
                try await brief.clean()
                return try await test.count("n1", "tandem.idempotency") == 1
            }
            guard case .replayed = try await pay(idempotency) else { throw TestFailure("a key that has not expired is gone") }
        }
    }

    @Test("a program's role sees and changes only what its own transaction has inserted")
    func rights() async throws {
        try await withNodes { test, idempotency in
            _ = try await pay(idempotency)
            let node = test.cluster["n1"]
            let (seen, changed) = (
                try await node.query("SELECT count(*) FROM tandem.idempotency", as: Int.self)[0],
                try await node.execute("UPDATE tandem.idempotency SET status = 1")
            )
            #expect(seen == 0 && changed == 0)
            for forbidden: SQL in ["DELETE FROM tandem.idempotency", "UPDATE tandem.idempotency SET xid = xid", "SELECT tandem.phased_settings()"] {
                let error = await refusal { try await node.execute(forbidden) }
                #expect(error?.code == .notPermitted)
            }
            let hash = try await node.query("SELECT \(sql: print.sql) = tandem.fingerprint('POST', '/payments', '{\"amount\": 5}')", as: Bool.self)
            #expect(hash == [true])
        }
    }

    @Test("a response beyond the limit is a named error, and nothing happens")
    func tooLarge() async throws {
        try await withNodes { test, idempotency in
            let error = await refusal {
                try await idempotency.once(key, print) { branch in
                    try await branch.execute("INSERT INTO payment (amount) VALUES (5)")
                    return StoredResponse(status: 200, body: [UInt8](repeating: 1, count: 1 << 20 + 1))
                }
            }
            let count = try await test.count("n1", "payment")
            #expect(error?.code == .resultTooLarge && count == 0)
        }
    }
}
