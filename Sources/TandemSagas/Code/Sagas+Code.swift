import TandemCore

/// Sagas in Swift.
extension Sagas {
    /// Lets this process run a saga in Swift, whoever has started it. Say so before ``run()``; several versions of one name may be registered.
    ///
    /// - Parameter saga: the saga.
    public func register(_ saga: Saga<some Codable & Sendable, some Codable & Sendable>) { engine.add(saga.erased) }

    /// Starts a saga in Swift; it runs in a process that has registered it.
    ///
    /// - Parameters:
    ///   - saga: the saga.
    ///   - input: what its function gets, kept as JSON of at most 256 KiB.
    ///   - key: what the caller calls it: the same key and name lead to the same saga, also after a crash.
    /// - Returns: its id.
    /// - Throws: as `start(_:input:key:)` does; what encoding the input throws.
    @discardableResult
    public func start<Input>(_ saga: Saga<Input, some Codable & Sendable>, input: Input, key: String? = nil) async throws -> Started {
        let (started, here) = try await begin(saga, input, key)
        if let here { engine.queue.push(here) }
        return started
    }

    private func begin<Input>(_ saga: Saga<Input, some Codable & Sendable>, _ input: Input, _ key: String?) async throws -> (Started, here: SagaRecord?) {
        let code = saga.erased
        engine.add(code)
        let hash = try await engine.store.register(code.text, name: code.name, version: code.version, isCode: true)
        engine.know(hash, code)
        return try await begin(
            SagaStart(
                id: .fresh(), name: code.name, definition: hash, isCode: true, key: key, input: try SagaJSON.encode(input), deadline: code.deadline, owner: nil)
        )
    }

    /// Starts a saga in Swift and waits for what its function returns.
    ///
    /// - Parameters:
    ///   - saga: the saga.
    ///   - input: what its function gets.
    ///   - key: what the caller calls it.
    ///   - limit: how long to wait.
    /// - Returns: what the function returned.
    /// - Throws: `sagaCompensated` where all that was done is undone; `sagaStuck` where an operator has to look; `deadlineExceeded` where it has not ended in time:
    ///   it goes on. What `start(_:input:key:)` throws.
    public func perform<Input, Output>(
        _ saga: Saga<Input, Output>, input: Input, key: String? = nil, within limit: Duration
    ) async throws -> Output {
        let deadline = ContinuousClock.now + limit
        let (started, here) = try await begin(saga, input, key)
        if let here { await wait(for: here, within: limit) }
        let summary = try await end(of: started.id, within: max(.zero, deadline - .now))
        func error(_ code: TandemError.Code, _ message: String) -> TandemError {
            TandemError(code, "\(message)\(summary.error.map { ": \($0)" } ?? "")", nextStep: "`tandem saga show \(started.id)`")
        }
        switch summary.state {
        case .completed: return try SagaJSON.decode(Output.self, summary.output ?? "null")
        case .compensated: throw error(.sagaCompensated, "the saga \(started.id) turned back, and all that was done is undone")
        case .stuckForward, .stuckCompensation: throw error(.sagaStuck, "the saga \(started.id) is stuck")
        case .running, .compensating: throw error(.deadlineExceeded, "the saga \(started.id) has not ended in time, and goes on")
        }
    }
}
