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
/// Key, effects and response are one transaction: a concurrent duplicate waits, at most for the node's `lockTimeout`, and gets the same bytes; a crash leaves nothing. For work with foreign calls in its
/// middle there is ``claim(_:_:hold:saga:)``.
public struct Idempotency: Sendable {
    let cluster: Cluster
    /// The node that keeps the keys: that of the effects.
    public let node: NodeName
    /// How long a key is kept.
    public var keep: Duration = .seconds(24 * 3600)
    let telemetry: Telemetry

    /// Keys on a node. It has the tables when it was initialised with the module ``TandemCluster/SchemaModule/idempotency``, as `tandem init` does.
    ///
    /// - Parameters:
    ///   - cluster: whose node it is.
    ///   - node: the node that keeps the keys: that of the effects.
    public init(_ cluster: Cluster, on node: NodeName) {
        self.cluster = cluster
        self.node = node
        telemetry = Telemetry(cluster.configuration, node)
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
        try await telemetry.counted(\.telemetry) {
            do {
                return try await cluster[node].transaction(options) { branch in try await use(key, fingerprint, in: branch, body) }
            } catch let error as TandemError {
                if let progress = Self.progress(error) { return progress }
                throw Self.named(error)
            }
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
    /// - Throws: as ``once(_:_:options:_:)`` does. Where another transaction has the key for longer than the node's
    ///   `lockTimeout`, an error of SQLSTATE 55P03.
    public nonisolated(nonsending) func once(
        _ key: IdempotencyKey, _ fingerprint: RequestFingerprint, in branch: Branch,
        _ body: nonisolated(nonsending) (Branch) async throws -> StoredResponse
    ) async throws -> IdempotentOutcome {
        try await telemetry.counted(\.telemetry) { try await use(key, fingerprint, in: branch, body) }
    }

    private nonisolated(nonsending) func use(
        _ key: IdempotencyKey, _ fingerprint: RequestFingerprint, in branch: Branch,
        _ body: nonisolated(nonsending) (Branch) async throws -> StoredResponse
    ) async throws -> IdempotentOutcome {
        let beginning: [(String, Int?, String?, [UInt8]?, Int64?)]
        do {
            beginning = try await branch.query(
                """
                SELECT o.outcome, o.status, o.headers::text, o.body, (extract(epoch FROM o.retry_after) * 1000)::int8
                FROM tandem.once_begin(\(key.scope), \(key.key), \(sql: fingerprint.sql), \(sql: keep.interval)) o
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
                try await branch.execute(try finishing(key, response))
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
        let made = Locked<StoredResponse?>(nil)
        return try await counted(key, fingerprint, statements, timeout, nil, made: { made.withLock { $0 } }) { results, isFast in
            let response = try response(Array(results.dropFirst()))
            made.withLock { $0 = response }
            try key.check(response)
            if isFast {
                // Only the row of this very transaction can be seen and changed so.
                return """
                    UPDATE tandem.idempotency SET expires_at = pg_catalog.clock_timestamp() + \(sql: keep.interval), status = \(response.status)::int,
                        headers = \(try response.headersJSON)::json, body = \(response.body) WHERE scope = \(key.scope) AND key = \(key.key)
                    """
            }
            return try finishing(key, response)
        }
    }

    /// Stores the response of the use that this transaction has begun.
    private func finishing(_ key: IdempotencyKey, _ response: StoredResponse) throws -> SQL {
        "SELECT tandem.once_finish(\(key.scope), \(key.key), \(response.status)::int, \(try response.headersJSON)::json, \(response.body), \(sql: keep.interval))"
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
        try await counted(key, fingerprint, statements, timeout, response, made: { response }, conclusion: nil)
    }

    private func counted(
        _ key: IdempotencyKey, _ fingerprint: RequestFingerprint, _ statements: [SQL], _ timeout: Duration, _ response: StoredResponse?,
        made: @escaping @Sendable () -> StoredResponse?, conclusion: (@Sendable ([OperationResult], _ isFast: Bool) throws -> SQL)?
    ) async throws -> IdempotentOutcome {
        try await telemetry.counted(\.telemetry) { try await run(key, fingerprint, statements, timeout, response, made: made, conclusion: conclusion) }
    }

    private func run(
        _ key: IdempotencyKey, _ fingerprint: RequestFingerprint, _ statements: [SQL], _ timeout: Duration, _ response: StoredResponse?,
        made: @escaping @Sendable () -> StoredResponse?, conclusion: (@Sendable ([OperationResult], _ isFast: Bool) throws -> SQL)?
    ) async throws -> IdempotentOutcome {
        try key.check(response)
        // First as most requests are: nobody has had the key. Whoever has is found by the table's own key; then the functions look, which also know of expired ones.
        for isFast in [true, false] {
            var request = TransactionRequest([.init(node, try beginning(key, fingerprint, response, isFast: isFast))] + statements.map { .init(node, $0) })
            request.options.timeout = timeout
            request.options.isRecorded = false
            if let conclusion { request.conclusion = { [try conclusion($0, isFast)] } }
            do {
                _ = try await cluster.run(request)
                guard let response = made() else { throw TandemError(.protocolViolation, "the statements brought no results", node: node) }
                return .first(response)
            } catch let error as TandemError {
                if isFast && error.constraint == Self.constraint { continue }
                if error.sqlState == .idempotencyKeyUsed || error.sqlState == .idempotencyInProgress { return try await lookUp(key, fingerprint) }
                if let progress = Self.progress(error) { return progress }
                throw Self.named(error)
            }
        }
        return try await lookUp(key, fingerprint)
    }

    /// The key that a second use violates.
    private static let constraint = "idempotency_pkey"

    private func beginning(_ key: IdempotencyKey, _ fingerprint: RequestFingerprint, _ response: StoredResponse?, isFast: Bool) throws -> SQL {
        switch (isFast, response) {
        case (true, let response?):
            return """
                INSERT INTO tandem.idempotency (scope, key, fingerprint, expires_at, status, headers, body) VALUES (\(key.scope), \(key.key), \
                \(sql: fingerprint.sql), pg_catalog.clock_timestamp() + \(sql: keep.interval), \(response.status), \(try response.headersJSON), \(response.body))
                """
        case (true, nil):
            return """
                INSERT INTO tandem.idempotency (scope, key, fingerprint, expires_at) VALUES (\(key.scope), \(key.key), \(sql: fingerprint.sql), \
                pg_catalog.clock_timestamp() + \(sql: keep.interval))
                """
        case (false, let response?):
            return """
                SELECT tandem.once(\(key.scope), \(key.key), \(sql: fingerprint.sql), \(response.status)::int, \(try response.headersJSON)::json, \(response.body), \
                \(sql: keep.interval))
                """
        case (false, nil): return "SELECT tandem.once(\(key.scope), \(key.key), \(sql: fingerprint.sql), keep => \(sql: keep.interval))"
        }
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
        error.sqlState == .lockNotAvailable ? .inProgress(retryAfter: .seconds(1)) : nil
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
    /// The hash, made by the server: that of `tandem.fingerprint`, each part behind its length in eight bytes.
    var sql: SQL {
        var bytes: [UInt8] = []
        for part in parts {
            for shift in stride(from: 56, through: 0, by: -8) { bytes.append(UInt8(truncatingIfNeeded: UInt64(part.count) >> UInt64(shift))) }
            bytes += part
        }
        return "pg_catalog.sha256(\(bytes))"
    }
}

extension IdempotencyKey {
    private static let mostKey = 1024, mostBody = 1 << 20, mostHeaders = 64 << 10

    /// What `tandem.idempotency_check` checks.
    func check(_ response: StoredResponse?) throws {
        guard !key.isEmpty, scope.utf8.count + key.utf8.count <= Self.mostKey else {
            throw TandemError(.configurationInvalid, "an idempotency key must not be empty, and has at most \(Self.mostKey) bytes together with its scope")
        }
        guard let response else { return }
        guard response.body.count <= Self.mostBody, try response.headersJSON.utf8.count <= Self.mostHeaders else {
            throw TandemError(
                .resultTooLarge, "the response is too large to be stored: \(response.body.count) bytes of \(Self.mostBody)", effect: .rolledBack,
                nextStep: "store a reference to it")
        }
    }
}

extension Duration {
    var interval: SQL { "\(wholeMilliseconds)::int8 * interval '1 ms'" }
}
