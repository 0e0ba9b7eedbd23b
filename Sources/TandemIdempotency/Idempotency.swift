public import TandemCluster
public import TandemCore
public import TandemPostgres
public import TandemTransactions

/// Requests that happen once, however often they are sent.
///
/// ```swift
/// let idempotency = Idempotency(cluster, on: "bankA")
/// let outcome = try await idempotency.once(key, RequestFingerprint("POST", "/payments", body)) { branch in
///     let id = try await branch.query("INSERT INTO payment (amount) VALUES (\(amount)) RETURNING id", as: Int64.self)[0]
///     return StoredResponse(status: 201, body: Array("{\"id\": \(id)}".utf8))
/// }
/// ```
///
/// Key, effects and response are one transaction: a concurrent duplicate waits and gets the same bytes, and a crash leaves nothing. For work with foreign calls in its
/// middle there is ``claim(_:_:hold:saga:)``.
public struct Idempotency: Sendable {
    let cluster: Cluster
    /// The node that keeps the keys: that of the effects.
    public let node: NodeName
    /// How long a key is kept.
    public var keep: Duration = .seconds(24 * 3600)
    /// How long a duplicate waits for the first one; then it is told to ask again. At most the node's lock timeout, and longer than that at your own risk.
    public var patience: Duration = .seconds(5)

    /// Keys on a node. It has the tables when it was initialised with the module ``TandemCluster/SchemaModule/idempotency``, as `tandem init` does.
    ///
    /// - Parameters:
    ///   - cluster: whose node it is.
    ///   - node: the node that keeps the keys: that of the effects.
    public init(_ cluster: Cluster, on node: NodeName) {
        self.cluster = cluster
        self.node = node
    }

    // MARK: Once

    /// Does something once, in a transaction of the node.
    ///
    /// - Parameters:
    ///   - key: the request's key.
    ///   - fingerprint: what the request holds.
    ///   - options: isolation, timeout, attempts. At `read committed`, the default, a duplicate that has waited gets the response; at the others it fails with 40001, which
    ///     `attempts` repeats.
    ///   - body: does it; its error rolls everything back and frees the key.
    /// - Returns: the response, made now or before.
    /// - Throws: `idempotencyMismatch` where the key was used for another request; `resultTooLarge`; what `body` throws; what `Node.transaction` throws: where the answer to its
    ///   commit was lost, send the request again under the same key. Cancellation rolls back.
    public nonisolated(nonsending) func once(
        _ key: IdempotencyKey, _ fingerprint: RequestFingerprint, options: TransactionOptions = TransactionOptions(),
        _ body: nonisolated(nonsending) (Branch) async throws -> StoredResponse
    ) async throws -> IdempotentOutcome {
        do {
            return try await cluster[node].transaction(options) { branch in try await once(key, fingerprint, in: branch, body) }
        } catch let error as TandemError {
            if let progress = Self.progress(error) { return progress }
            throw Self.named(error)
        }
    }

    /// Does something once, as a part of a global transaction: the key commits with all of its branches, or not at all.
    ///
    /// - Parameters:
    ///   - key: the request's key.
    ///   - fingerprint: what the request holds.
    ///   - branch: the branch on the node of the keys.
    ///   - body: does it, on this branch and others. Its error has to end the transaction.
    /// - Returns: the response, made now or before. Where it was made before, the transaction has done nothing and may end as it likes.
    /// - Throws: as ``once(_:_:options:_:)`` does. Where another transaction has the key for longer than ``patience``, an error of SQLSTATE 55P03.
    public nonisolated(nonsending) func once(
        _ key: IdempotencyKey, _ fingerprint: RequestFingerprint, in branch: Branch,
        _ body: nonisolated(nonsending) (Branch) async throws -> StoredResponse
    ) async throws -> IdempotentOutcome {
        let beginning: [(String, Int?, String?, [UInt8]?, Int64?)]
        do {
            beginning = try await branch.query(
                """
                SELECT o.outcome, o.status, o.headers::text, o.body, (extract(epoch FROM o.retry_after) * 1000)::int8
                FROM pg_catalog.set_config('lock_timeout', \(String(patience.wholeMilliseconds)), true),
                    LATERAL tandem.once_begin(\(key.scope), \(key.key), \(sql: fingerprint.sql), \(sql: keep.interval)) o
                """, as: String.self, Int?.self, String?.self, [UInt8]?.self, Int64?.self)
        } catch let error as TandemError {
            throw Self.named(error)
        }
        guard let (outcome, status, headers, bytes, retry) = beginning.first else {
            throw TandemError(.protocolViolation, "the server sent no answer", node: node)
        }
        switch outcome {
        case "first":
            let response = try await body(branch)
            do {
                try await branch.execute(
                    """
                    SELECT tandem.once_finish(\(key.scope), \(key.key), \(response.status)::int, \(try response.headersJSON)::json, \(response.body), \(sql: keep.interval))
                    """)
            } catch let error as TandemError {
                throw Self.named(error)
            }
            return .first(response)
        case "replay": return .replayed(StoredResponse(status: status, headers: headers, body: bytes))
        default: return .inProgress(retryAfter: .milliseconds(retry ?? 1000))
        }
    }

    /// Does statements once whose response is made of what they return: two messages, or one where the response is known before.
    ///
    /// - Parameters:
    ///   - key: the request's key.
    ///   - fingerprint: what the request holds.
    ///   - statements: what is done.
    ///   - timeout: how long everything may take.
    ///   - response: makes the response of the statements' results.
    /// - Returns: the response, made now or before.
    /// - Throws: as ``once(_:_:options:_:)`` does.
    public func once(
        _ key: IdempotencyKey, _ fingerprint: RequestFingerprint, statements: [SQL], timeout: Duration = .seconds(30),
        response: @escaping @Sendable ([OperationResult]) throws -> StoredResponse
    ) async throws -> IdempotentOutcome {
        let made = Locked<StoredResponse?>(nil), keep = keep
        return try await run(key, fingerprint, statements, timeout, nil, made: { made.withLock { $0 } }) { results in
            let response = try response(Array(results.dropFirst()))
            made.withLock { $0 = response }
            return [
                "SELECT tandem.once_finish(\(key.scope), \(key.key), \(response.status)::int, \(try response.headersJSON)::json, \(response.body), \(sql: keep.interval))"
            ]
        }
    }

    /// Does statements once whose response is known before, in one message.
    ///
    /// - Parameters:
    ///   - key: the request's key.
    ///   - fingerprint: what the request holds.
    ///   - statements: what is done.
    ///   - timeout: how long everything may take.
    ///   - response: the response.
    /// - Returns: the response, made now or before.
    /// - Throws: as ``once(_:_:options:_:)`` does.
    public func once(
        _ key: IdempotencyKey, _ fingerprint: RequestFingerprint, statements: [SQL], timeout: Duration = .seconds(30), response: StoredResponse
    ) async throws -> IdempotentOutcome {
        try await run(key, fingerprint, statements, timeout, response, made: { response }, conclusion: nil)
    }

    private func run(
        _ key: IdempotencyKey, _ fingerprint: RequestFingerprint, _ statements: [SQL], _ timeout: Duration, _ response: StoredResponse?,
        made: @Sendable () -> StoredResponse?, conclusion: (@Sendable ([OperationResult]) throws -> [SQL])?
    ) async throws -> IdempotentOutcome {
        let beginning: SQL
        if let response {
            beginning = """
                SELECT tandem.once(\(key.scope), \(key.key), \(sql: fingerprint.sql), \(response.status)::int, \(try response.headersJSON)::json, \(response.body), \
                \(sql: keep.interval))
                """
        } else {
            beginning = "SELECT tandem.once(\(key.scope), \(key.key), \(sql: fingerprint.sql), keep => \(sql: keep.interval))"
        }
        var request = TransactionRequest([.init(node, beginning)] + statements.map { .init(node, $0) })
        request.options.timeout = timeout
        request.options.isRecorded = false
        request.conclusion = conclusion
        do {
            _ = try await cluster.run(request)
        } catch let error as TandemError {
            if error.sqlState == .idempotencyKeyUsed || error.sqlState == .idempotencyInProgress { return try await lookUp(key, fingerprint) }
            if let progress = Self.progress(error) { return progress }
            throw Self.named(error)
        }
        guard let response = made() else { throw TandemError(.protocolViolation, "the statements brought no results", node: node) }
        return .first(response)
    }

    // MARK: Looking

    /// What is known of a key. It permits nothing: a use that is not committed yet is not seen.
    ///
    /// - Parameters:
    ///   - key: the request's key.
    ///   - fingerprint: what the request holds.
    /// - Returns: the response, that it is in progress, or, where the key is free or its use has been rolled back meanwhile, that it may be sent again at once.
    /// - Throws: `idempotencyMismatch`; `nodeUnreachable` and kin.
    public func lookUp(_ key: IdempotencyKey, _ fingerprint: RequestFingerprint) async throws -> IdempotentOutcome {
        do {
            let rows = try await cluster[node].query(
                """
                SELECT o.outcome, o.status, o.headers::text, o.body, (extract(epoch FROM o.retry_after) * 1000)::int8
                FROM tandem.idempotency_look_up(\(key.scope), \(key.key), \(sql: fingerprint.sql)) o
                """, as: String.self, Int?.self, String?.self, [UInt8]?.self, Int64?.self)
            guard let (outcome, status, headers, bytes, retry) = rows.first else {
                throw TandemError(.protocolViolation, "the server sent no answer", node: node)
            }
            return outcome == "replay"
                ? .replayed(StoredResponse(status: status, headers: headers, body: bytes)) : .inProgress(retryAfter: .milliseconds(retry ?? 0))
        } catch let error as TandemError {
            throw Self.named(error)
        }
    }

    // MARK: Errors

    /// A duplicate that has waited for long enough.
    private static func progress(_ error: TandemError) -> IdempotentOutcome? {
        error.sqlState == .lockNotAvailable && error.message.contains("lock timeout") ? .inProgress(retryAfter: .seconds(1)) : nil
    }

    static func named(_ error: TandemError) -> TandemError {
        let code: TandemError.Code
        switch error.sqlState {
        case .idempotencyMismatch?: code = .idempotencyMismatch
        case .idempotencyClaimLost?: code = .idempotencyClaimLost
        case .idempotencyTooLarge?: code = .resultTooLarge
        default: return error
        }
        return TandemError(code, error.message, effect: error.effect, node: error.node, sqlState: error.sqlState, phase: error.phase, cause: error)
    }
}

extension RequestFingerprint {
    /// The hash, made by the server.
    var sql: SQL {
        let literal =
            "{"
            + parts.map {
                "\"\\\\x"
                    + $0.map { byte in
                        let digits = String(byte, radix: 16)
                        return digits.count == 1 ? "0" + digits : digits
                    }.joined() + "\""
            }.joined(separator: ",") + "}"
        return "tandem.fingerprint(VARIADIC \(literal)::bytea[])"
    }
}

extension Duration {
    var interval: SQL { "\(wholeMilliseconds)::int8 * interval '1 ms'" }
}
