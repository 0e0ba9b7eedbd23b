public import TandemCluster
import TandemCore
import TandemPostgres
import TandemTransactions

/// The sagas of a cluster: work in steps over several databases and services that ends all done or all undone, whatever dies.
///
/// ```swift
/// let sagas = try Sagas(cluster)
/// async let worker: Void = sagas.run()                  // any number of processes may
/// let saga = try await sagas.start(order, input: #"{"item": 7, "amount": 2}"#, key: "order-4711")
/// let end = try await sagas.end(of: saga.id, within: .seconds(30))
/// ```
///
/// A process makes one and keeps it: its sagas begin at once where it also runs some.
public struct Sagas: Sendable {
    let engine: SagaEngine

    /// The sagas of a cluster. Its nodes have the tables when they were initialised with the module ``TandemCluster/SchemaModule/sagas``, as `tandem init` does.
    ///
    /// - Parameters:
    ///   - cluster: its nodes.
    ///   - options: the home node, the lease, how many run at a time.
    /// - Throws: `unknownNode` where the home node is not one of the cluster's.
    public init(_ cluster: Cluster, options: SagaOptions = SagaOptions()) throws {
        engine = try SagaEngine(cluster, options)
    }

    /// Runs sagas that are due, whoever has started them, until the task is cancelled.
    ///
    /// Any number of processes may. One that dies loses its sagas to the others once the lease is over; what it had under way is neither lost nor done twice.
    ///
    /// - Throws: `notInitialised` where the home node has no tables. Cancellation gives back what is under way, and ends without an error.
    public func run() async throws { try await SagaWorker(engine: engine).run() }

    // MARK: Starting

    /// The most bytes that a key may have.
    private static let mostKey = 1024

    /// What a start has led to.
    public struct Started: Sendable, Hashable, Codable {
        /// The saga.
        public let id: SagaID
        /// Whether it was started now; else it has had the key before.
        public let isNew: Bool
    }

    /// Starts a saga.
    ///
    /// It is durable when this returns, and runs wherever a worker is free: at once where this process runs one.
    ///
    /// - Parameters:
    ///   - definition: its steps.
    ///   - input: a JSON text, whose values the steps name as `input.KEY`; at most 256 KiB.
    ///   - key: what the caller calls it: the same key and name lead to the same saga, also after a crash.
    /// - Returns: its id.
    /// - Throws: `configurationInvalid` where the definition breaks a rule or the input is no JSON; `resultTooLarge`; `nodeUnreachable` and kin, or `inDoubt`, of the home node:
    ///   start it again with the same key.
    @discardableResult
    public func start(_ definition: SagaDefinition, input: String = "null", key: String? = nil) async throws -> Started {
        let (started, here) = try await begin(definition, input, key)
        if let here { engine.queue.push(here) }
        return started
    }

    /// Starts a saga under an id that the caller has chosen and kept, unless it is there already.
    ///
    /// - Parameters:
    ///   - definition: its steps.
    ///   - input: a JSON text.
    ///   - id: the saga's id, from `SagaID.fresh()`.
    /// - Throws: as `start` does.
    public func start(_ definition: SagaDefinition, input: String, id: SagaID) async throws {
        try KeptJSON.check(input, "the input", example: "{\"amount\": 7}")
        // Nobody runs it here at once: it may be there, and somebody's.
        _ = try await engine.store.start(
            SagaStart(
                id: id, name: definition.name, definition: try await engine.register(definition), isCode: false, key: nil, input: input,
                deadline: definition.deadline, owner: nil))
    }

    /// Makes a saga durable.
    ///
    /// - Returns: its id, and what a runner of this process has to be given where one is free.
    private func begin(_ definition: SagaDefinition, _ input: String, _ key: String?) async throws -> (Started, here: SagaRecord?) {
        try KeptJSON.check(input, "the input", example: "{\"amount\": 7}")
        let hash = try await engine.register(definition)
        return try await begin(
            SagaStart(
                id: .fresh(), name: definition.name, definition: hash, isCode: false, key: key, input: input, deadline: definition.deadline, owner: nil))
    }

    func begin(_ wanted: SagaStart) async throws -> (Started, here: SagaRecord?) {
        try KeptJSON.checkSize(wanted.input, "the input")
        guard (wanted.key?.utf8.count ?? 0) <= Self.mostKey else {
            throw TandemError(.configurationInvalid, "the key has more than \(Self.mostKey) bytes", nextStep: "choose a shorter one")
        }
        let isHere = engine.queue.reserve(1) == 1
        var start = wanted
        start.owner = isHere ? engine.store.owner : nil
        do {
            let (id, isNew) = try await engine.store.start(start)
            if isHere && !isNew { engine.queue.giveBack(1) }
            let record = SagaRecord(
                id: id, name: start.name, definition: start.definition, isCode: start.isCode, input: start.input, epoch: 1, state: "running",
                timeLeft: start.deadline)
            return (Started(id: id, isNew: isNew), isHere && isNew ? record : nil)
        } catch {
            // If it is there all the same, it is anybody's when the lease is over.
            if isHere { engine.queue.giveBack(1) }
            throw error
        }
    }

    /// Starts a saga and waits for its end, which a process that also runs sagas is told at once.
    ///
    /// - Parameters:
    ///   - definition: its steps.
    ///   - input: a JSON text.
    ///   - key: what the caller calls it.
    ///   - limit: how long to wait.
    /// - Returns: how it stands then, as ``end(of:within:)`` says.
    /// - Throws: as `start` and ``end(of:within:)`` do.
    public func perform(_ definition: SagaDefinition, input: String = "null", key: String? = nil, within limit: Duration) async throws -> SagaSummary {
        let deadline = ContinuousClock.now + limit
        let (started, here) = try await begin(definition, input, key)
        if let here { await wait(for: here, within: limit) }
        return try await end(of: started.id, within: max(.zero, deadline - .now))
    }

    /// Hands a saga to a runner here, and waits until it has ended or the time is over.
    func wait(for here: SagaRecord, within limit: Duration) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { _ = await ended(here) }
            group.addTask { try? await Task.sleep(for: limit) }
            await group.next()
            group.cancelAll()
        }
    }

    private func ended(_ here: SagaRecord) async -> SagaEnding? {
        await engine.watchers.wait(for: here.id) {
            if !engine.queue.push(here) { engine.watchers.tell(here.id, nil) }
        }
    }

    /// Starts a saga, and waits while it is run here.
    ///
    /// - Returns: the saga, and how it ended where that happened here.
    package func performed(_ definition: SagaDefinition, _ input: String, _ key: String?) async throws -> (id: SagaID, state: SagaSummary.State?) {
        let (started, here) = try await begin(definition, input, key)
        guard let here else { return (started.id, nil) }
        let ending = await ended(here)
        return (started.id, ending.flatMap { SagaSummary.State(rawValue: $0.state) })
    }

    // MARK: Waiting

    /// Waits for a saga's end.
    ///
    /// - Parameters:
    ///   - id: the saga.
    ///   - limit: how long.
    /// - Returns: how it stands then: where the time is over, or it is stuck, it has not ended.
    /// - Throws: `notFound`; `nodeUnreachable` and kin of the home node. Cancellation ends the wait, and nothing else.
    public func end(of id: SagaID, within limit: Duration) async throws -> SagaSummary {
        let deadline = ContinuousClock.now + limit
        while true {
            let summary = try await engine.store.summary(of: id)
            if summary.state.isAtRest || ContinuousClock.now >= deadline { return summary }
            try await Task.sleep(for: min(.milliseconds(100), max(.milliseconds(1), deadline - .now)))
        }
    }
}
