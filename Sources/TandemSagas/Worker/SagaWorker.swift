import Logging
import TandemCluster
import TandemCore
import TandemTransactions

/// What looks after sagas in one process: takes those that are due and runs them.
struct SagaWorker {
    let engine: SagaEngine

    /// How often the gauges are set.
    private static let observation = Duration.seconds(15)

    private var options: SagaOptions { engine.options }
    private var logger: Logger { engine.logger }

    /// Runs until the task is cancelled; sagas that are under way then are given back.
    func run() async throws {
        try await waitForHome()
        guard let generation = engine.queue.open() else {
            throw TandemError(.configurationInvalid, "this process runs these sagas already", nextStep: "one run() for each Sagas")
        }
        defer { close(generation) }
        await withTaskCancellationHandler {
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<options.concurrency {
                    group.addTask(executorPreference: engine.cluster.executor(ofClient: number)) { await runner() }
                }
                group.addTask { await claim() }
                group.addTask { await extend() }
                group.addTask { await forget() }
                group.addTask { await observe() }
            }
        } onCancel: {
            close(generation)
        }
    }

    /// Who waits for a saga that nobody here runs any more is told so.
    private func close(_ generation: Int) {
        for saga in engine.queue.close(generation) { engine.watchers.tell(saga.id, nil) }
    }

    /// A home node that is down now may be back later; one without the tables needs somebody.
    private func waitForHome() async throws {
        while true {
            do { return try await engine.store.check() } catch let error as TandemError
                where error.isOfConnection && error.code != .notInitialised && error.code != .schemaMismatch
            {
                logger.warning("the home node of sagas does not answer", metadata: ["tandem.node": "\(engine.store.node.name)", "tandem.reason": "\(error)"])
                try await Task.sleep(for: .seconds(1))
            }
        }
    }

    @concurrent
    private func runner() async {
        while !Task.isCancelled, let saga = await engine.queue.next() {
            let holding = engine.held.add(saga)
            defer { engine.held.remove(saga) }
            do {
                let ending = try await execute(saga, holding)
                engine.watchers.tell(saga.id, ending)
            } catch {
                engine.watchers.tell(saga.id, nil)
                if error is SagaStore.Fenced {
                    engine.telemetry.lost()
                    logger.debug("a saga belongs to another worker", metadata: ["tandem.saga": "\(saga.id)"])
                } else if !(error is CancellationError) {
                    logger.warning("a saga cannot be run now", metadata: ["tandem.saga": "\(saga.id)", "tandem.reason": "\(error)"])
                }
                await giveBack(saga, error)
            }
        }
    }

    private func execute(_ saga: SagaRecord, _ holding: HeldSagas.Holding) async throws -> SagaEnding? {
        if saga.isCode {
            guard let code = engine.code(saga.definition) else { throw TandemError(.notFound, "this process does not have the saga \(saga.name)") }
            var run = CodeSagaRun(engine, saga, code, holding)
            return try await run.run()
        }
        let compiled = try await engine.saga(saga.definition)
        var run = try SagaRun(engine, saga, compiled, holding)
        return try await run.run()
    }

    /// A saga that this worker cannot run now is tried again soon, by whoever is there.
    private func giveBack(_ saga: SagaRecord, _ error: any Error) async {
        guard !(error is SagaStore.Fenced) else { return }
        let isEnding = error is CancellationError, store = engine.store
        let reason = (error as? TandemError).map { "\($0.code)" }
        _ = await Task {
            try? await withDeadline(.seconds(2)) {
                try await store.release(saga, after: isEnding ? .zero : .seconds(5), waitsFor: reason, heedsDeadline: false)
            }
        }.value
    }

    /// Takes as many sagas as there are free runners.
    private func claim() async {
        var isLogged = false
        while !Task.isCancelled {
            let free = engine.queue.reserve(options.concurrency)
            var claimed: [SagaRecord] = []
            if free > 0 {
                do {
                    claimed = try await engine.store.claim(free, code: try await engine.codeHashes())
                    isLogged = false
                } catch {
                    if !isLogged && !Task.isCancelled { logger.warning("sagas cannot be claimed", metadata: ["tandem.reason": "\(error)"]) }
                    isLogged = true
                }
                engine.queue.giveBack(free - claimed.count)
                for saga in claimed { engine.queue.push(saga) }
            }
            // A full claim is a sign of more.
            if free > 0 && claimed.count == free { continue }
            do { try await Task.sleep(for: options.poll) } catch { return }
        }
    }

    /// Removes what has ended long ago, some at a time.
    private func forget() async {
        let retention = SagaRetention(engine: engine)
        while !Task.isCancelled {
            do { try await Task.sleep(for: min(options.retention / 4, .seconds(60))) } catch { return }
            do { try await retention.run() } catch {
                if !Task.isCancelled { logger.warning("sagas that have ended stay for now", metadata: ["tandem.reason": "\(error)"]) }
            }
        }
    }

    /// Tells the gauges how things stand.
    private func observe() async {
        guard engine.telemetry.isMeasured else { return }
        while !Task.isCancelled {
            if let backlog = try? await engine.store.backlog() { engine.telemetry.observed(backlog) }
            do { try await Task.sleep(for: Self.observation) } catch { return }
        }
    }

    /// Keeps the leases of sagas that take long.
    private func extend() async {
        let step = options.lease / 5
        while !Task.isCancelled {
            do { try await Task.sleep(for: step) } catch { return }
            let held = engine.held.older(than: options.lease / 3)
            if held.isEmpty { continue }
            let now = ContinuousClock.now
            do {
                engine.held.extended(held, kept: try await engine.store.extend(held), from: now)
            } catch {
                if !Task.isCancelled { logger.warning("leases of sagas are not extended", metadata: ["tandem.reason": "\(error)"]) }
            }
        }
    }
}

/// Ends the body's task when the time is over.
func withDeadline<Value: Sendable>(_ limit: Duration, _ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
    try await withThrowingTaskGroup(of: Value?.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try await Task.sleep(for: limit)
            return nil
        }
        defer { group.cancelAll() }
        guard let first = try await group.next(), let value = first else { throw CancellationError() }
        return value
    }
}
