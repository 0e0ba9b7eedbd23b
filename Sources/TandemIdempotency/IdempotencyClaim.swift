import TandemCluster
import TandemCore
import TandemPostgres
public import TandemSagas
import TandemTransactions

/// Work with foreign calls in its middle: a key is claimed first, and each phase is fenced by the claim's token.
///
/// ```swift
/// switch try await idempotency.claim(key, fingerprint) {
/// case .claimed(let claim):
///     if claim.recoveryPoint == nil {
///         try await charge(idempotencyKey: "\(key.key)/charge")          // the service's own key: it may be called again after a crash
///         try await claim.advance(to: "charged")
///     }
///     try await claim.complete(StoredResponse(status: 201))
/// case .replayed(let response): ...
/// case .inProgress(let time, _): ...
/// }
/// ```
public struct IdempotencyClaim: Sendable {
    private let idempotency: Idempotency
    /// The request's key.
    public let key: IdempotencyKey
    /// What fences those who had the claim before.
    public let token: String
    /// How far somebody else had come; `nil` for the beginning.
    public let recoveryPoint: String?

    init(_ idempotency: Idempotency, _ key: IdempotencyKey, token: String, recoveryPoint: String?) {
        self.idempotency = idempotency
        self.key = key
        self.token = token
        self.recoveryPoint = recoveryPoint
    }

    /// Passes a recovery point and renews the claim.
    ///
    /// - Parameters:
    ///   - point: how far the work has come; `nil` only renews.
    ///   - hold: how long nobody else may take the claim over.
    ///   - saga: the saga that goes on with the work, and from then on decides its end.
    /// - Throws: `idempotencyClaimLost` where somebody else has the claim: stop; `nodeUnreachable` and kin, or `inDoubt`: it may be sent again.
    public func advance(to point: String?, hold: Duration = .seconds(60), saga: SagaID? = nil) async throws {
        try await send(
            """
            SELECT tandem.phased_advance(\(key.scope), \(key.key), \(token)::uuid, \(point), \(sql: hold.interval), \(sql: idempotency.keep.interval),
                \(saga?.description)::uuid)
            """)
    }

    /// Ends the claim with the response; a second time changes nothing.
    ///
    /// - Parameter response: what everybody is answered from then on.
    /// - Throws: as ``advance(to:hold:saga:)`` does; `resultTooLarge`.
    public func complete(_ response: StoredResponse) async throws {
        try await send(
            """
            SELECT tandem.phased_complete(\(key.scope), \(key.key), \(token)::uuid, \(response.status)::int, \(try response.headersJSON)::json, \(response.body),
                \(sql: idempotency.keep.interval))
            """)
    }

    /// Gives the claim back, so that the next one goes on at the recovery point at once.
    ///
    /// - Parameter forgets: whether the key is free again, for another request, too: only where nothing was done, or all is undone.
    /// - Throws: as ``advance(to:hold:saga:)`` does.
    public func release(forgets: Bool = false) async throws {
        try await send("SELECT tandem.phased_release(\(key.scope), \(key.key), \(token)::uuid, \(forgets)::bool, \(sql: idempotency.keep.interval))")
    }

    private func send(_ statement: SQL) async throws {
        do { try await idempotency.cluster[idempotency.node].execute(statement) } catch let error as TandemError { throw Idempotency.named(error) }
    }
}

extension Idempotency {
    /// What became of a wish to claim a key.
    public enum Claimed: Sendable {
        /// The work is the caller's.
        case claimed(IdempotencyClaim)
        /// It was done before, and this is what was answered then.
        case replayed(StoredResponse)
        /// Somebody else has the claim, or a saga has.
        case inProgress(retryAfter: Duration, saga: SagaID?)
    }

    /// Claims a key for work with foreign calls. The claim is durable before this returns.
    ///
    /// - Parameters:
    ///   - key: the request's key.
    ///   - fingerprint: what the request holds.
    ///   - hold: how long nobody else may take the claim over, on the database's clock.
    ///   - saga: the saga that does the work; its claim does not end by itself.
    /// - Returns: the claim, or why there is none.
    /// - Throws: `idempotencyMismatch`; `nodeUnreachable` and kin, or `inDoubt`: claim it again once `hold` is over.
    public func claim(_ key: IdempotencyKey, _ fingerprint: RequestFingerprint, hold: Duration = .seconds(60), saga: SagaID? = nil) async throws -> Claimed {
        try await telemetry.counted(\.telemetry) {
            do {
                let rows = try await cluster[node].query(
                    """
                    SELECT o.outcome, o.token::text, o.recovery_point, o.saga_id::text, o.status, o.headers::text, o.body, (extract(epoch FROM o.retry_after) * 1000)::int8
                    FROM tandem.phased_claim(\(key.scope), \(key.key), \(sql: fingerprint.sql), \(sql: hold.interval), \(sql: keep.interval), \(saga?.description)::uuid) o
                    """, as: String.self, String?.self, String?.self, String?.self, Int?.self, String?.self, [UInt8]?.self, Int64?.self)
                guard let (outcome, token, point, saga, status, headers, bytes, retry) = rows.first else {
                    throw TandemError(.protocolViolation, "the server sent no answer", node: node)
                }
                if outcome == "claimed", let token { return .claimed(IdempotencyClaim(self, key, token: token, recoveryPoint: point)) }
                if outcome == "replay" { return .replayed(StoredResponse(status: status, headers: headers, body: bytes)) }
                return .inProgress(retryAfter: .milliseconds(retry ?? 1000), saga: saga.flatMap { SagaID($0) })
            } catch let error as TandemError {
                throw Self.named(error)
            }
        }
    }

    /// Does work by a saga, once: the key is bound to it, and its end is the response.
    ///
    /// Whoever sends the request again, after a crash for one, waits for the same saga.
    ///
    /// - Parameters:
    ///   - key: the request's key.
    ///   - fingerprint: what the request holds.
    ///   - definition: the saga.
    ///   - input: its input, a JSON text.
    ///   - sagas: where it is started.
    ///   - limit: how long to wait for its end.
    ///   - response: makes the response of its end: of one that is completed, or of one that is compensated.
    /// - Returns: the response, made now or before; in progress where the saga has not ended in time, or is stuck.
    /// - Throws: as ``claim(_:_:hold:saga:)`` does, and what starting the saga throws.
    public func perform(
        _ key: IdempotencyKey, _ fingerprint: RequestFingerprint, _ definition: SagaDefinition, input: String, by sagas: Sagas, within limit: Duration,
        response: @Sendable (SagaSummary) throws -> StoredResponse
    ) async throws -> IdempotentOutcome {
        // The claim names the saga before it is started: whoever comes after a crash starts the same one, and a key that is used anew gets another.
        let fresh = SagaID.fresh(), id: SagaID
        switch try await claim(key, fingerprint, saga: fresh) {
        case .replayed(let response): return .replayed(response)
        case .inProgress(let time, nil): return .inProgress(retryAfter: time)
        case .inProgress(_, let saga?): id = saga
        case .claimed: id = fresh
        }
        let summary = try await end(of: id, definition, input, sagas, limit)
        guard summary.state == .completed || summary.state == .compensated else { return .inProgress(retryAfter: .seconds(5)) }
        let answer = try response(summary)
        do {
            try await cluster[node].execute(
                """
                SELECT tandem.phased_settle(\(key.scope), \(key.key), \(id.description)::uuid, \(answer.status)::int, \(try answer.headersJSON)::json, \(answer.body),
                    \(sql: keep.interval))
                """)
        } catch let error as TandemError {
            throw Self.named(error)
        }
        return .first(answer)
    }

    /// How long after its claim a saga that is not there is started: later it may have been there, and be removed.
    private static let startLimit = Duration.seconds(3600)

    private func end(of id: SagaID, _ definition: SagaDefinition, _ input: String, _ sagas: Sagas, _ limit: Duration) async throws -> SagaSummary {
        do { return try await sagas.end(of: id, within: limit) } catch let error as TandemError where error.code == .notFound {
            guard id.age < Self.startLimit else { throw error }
            try await sagas.start(definition, input: input, id: id)
            return try await sagas.end(of: id, within: limit)
        }
    }
}
