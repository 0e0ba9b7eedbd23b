import Foundation
import Logging
import TandemCore
import TandemCluster
import TandemPostgres
import TandemFailpoints
import TandemTransactions

/// Does what the machine decides, and tells it what came of it.
extension SagaRun {
    typealias Group = ThrowingTaskGroup<Event, any Error>

    mutating func perform(_ first: [SagaMachine.Action], _ group: inout Group) async throws {
        var actions = first[...]
        while let action = actions.popFirst() {
            switch action {
            case .run(let step): try await start(.init(step: step, work: .run), &group)
            case .halt(let step):
                halted.insert(step)
                // It waits for another attempt, which it will not get.
                guard let index = pauses.firstIndex(where: { $0.attempt == .init(step: step, work: .run) }) else { break }
                pauses.remove(at: index)
                actions += machine.on(.failed(step))
            case .bar(let step):
                switch compiled.steps[step].action {
                case .sql: try await start(.init(step: step, work: .bar), &group)
                // What may have been sent may have happened. Nobody sends it for the first time from here on: that needs this epoch.
                case .http: actions += machine.on(started[step] == nil || refused.contains(step) ? .barred(step) : .foundDone(step))
                case .timer, .signal: actions += machine.on(.barred(step))
                }
            case .turnBack(let done):
                await Failpoints.pass(.sagaBeforeTurn)
                try await engine.store.turnBack(saga, done: done.map { compiled.steps[$0].name }, error: cause?.json)
                isBack = true
                await Failpoints.pass(.sagaAfterTurn)
                actions += machine.on(.turnedBack)
            case .undo(let step): try await start(.init(step: step, work: .undo), &group)
            case .finish(let end): try await finish(end.rawValue)
            case .park(let stuck): try await finish(stuck.rawValue)
            }
        }
    }

    private mutating func finish(_ state: String) async throws {
        isOver = true
        let output = state == SagaMachine.End.completed.rawValue ? compiled.steps.last.flatMap { scope.outputs[$0.name]?.text } : nil
        let text = String(decoding: try JSONEncoder().encode(course), as: UTF8.self)
        let ending = SagaEnding(id: saga.id, epoch: saga.epoch, state: state, output: output, error: cause?.json, course: text)
        await Failpoints.pass(.sagaBeforeEnd)
        if ending.isEnd && !compiled.lockNodes.isEmpty {
            // Nobody else may still be undoing what the locks protect: first it is certain that the saga is ours to end.
            try await engine.store.settle(ending)
            try await releaseLocks()
            try await engine.store.close(saga)
        } else {
            try await engine.store.end(ending)
        }
        self.ending = ending
        await Failpoints.pass(.sagaAfterEnd)
        engine.logger.debug("a saga has ended", metadata: ["tandem.saga": "\(saga.id)", "tandem.state": "\(state)"])
        engine.report(ending, cause)
    }

    /// The outcome is certain.
    func releaseLocks() async throws {
        for node in compiled.lockNodes {
            _ = try await engine.store.definitely(within: SagaStore.patience) {
                try await engine.cluster[node].result(of: "DELETE FROM tandem.saga_lock WHERE saga_id = \(saga.id.description)::uuid")
            }
        }
    }

    // MARK: What others tell

    mutating func take(_ event: Event, _ group: inout Group) async throws {
        switch event {
        case .due: for attempt in takeDue() { try await start(attempt, &group) }
        case .deadline:
            guard !isBack else { return }
            let actions = machine.on(.cancel)
            if !actions.isEmpty { cause = cause ?? TandemError(.deadlineExceeded, "the saga's deadline has passed", nextStep: "allow more time") }
            try await perform(actions, &group)
        case .did(let step, let outcome, let start):
            inFlight -= 1
            try await did(step, outcome, start, &group)
        case .barred(let step, let result):
            inFlight -= 1
            switch result {
            case .success(.done(let output)):
                keep(output, of: step)
                try await perform(machine.on(.foundDone(step)), &group)
            case .success(.barred), .success(.absent): try await perform(machine.on(.barred(step)), &group)
            case .failure(let error): try await again(.init(step: step, work: .bar), error, .persistent, &group)
            }
        case .undid(let step, let outcome, let start):
            inFlight -= 1
            switch outcome {
            case .done:
                add("undo", .init(step: step, work: .undo), start)
                if !compiled.steps[step].isRecorded {
                    try await engine.store.append([JournalEntry(what: .undone, step: compiled.steps[step].name)], to: saga)
                }
                try await perform(machine.on(.undone(step)), &group)
            case .retry(let error, let time): try await again(.init(step: step, work: .undo), error, .persistent, after: time, &group)
            case .failed(let error): try await again(.init(step: step, work: .undo), error, .persistent, &group)
            case .barred: try await perform(machine.on(.undone(step)), &group)
            }
        }
    }

    private mutating func did(_ step: Int, _ outcome: StepOutcome, _ start: ContinuousClock.Instant, _ group: inout Group) async throws {
        let this = compiled.steps[step]
        switch outcome {
        case .done(let output):
            add("do", .init(step: step, work: .run), start)
            if !this.isRecorded { try await engine.store.append([JournalEntry(what: .done, step: this.name, output: output)], to: saga) }
            keep(output, of: step)
            try await perform(machine.on(.done(step)), &group)
        case .barred:
            cause = cause ?? TandemError(.sagaStepBarred, "the step \(this.name) is barred: another worker has turned the saga back", node: nil)
            try await perform(machine.on(.failed(step)), &group)
        case .retry(let error, let time):
            try await again(.init(step: step, work: .run), error, this.retry, after: time, &group)
        case .failed(let error):
            cause = cause ?? error
            // An attempt before, of which nobody knows, leaves a doubt.
            if attempts[.init(step: step, work: .run)] == nil && saga.isFresh { refused.insert(step) }
            add("do", .init(step: step, work: .run), start)
            try await perform(machine.on(.failed(step)), &group)
        }
    }

    private mutating func add(_ operation: String, _ attempt: Attempt, _ start: ContinuousClock.Instant) {
        let time = (ContinuousClock.now - start).inSeconds * 1000
        course.append(
            Course(
                step: compiled.steps[attempt.step].name, operation: operation, attempts: (attempts[attempt] ?? 0) + 1, milliseconds: (time * 10).rounded() / 10)
        )
    }

    /// Something failed that may be tried again.
    private mutating func again(
        _ attempt: Attempt, _ error: TandemError, _ retry: SagaDefinition.Retry, after time: Duration? = nil, _ group: inout Group
    ) async throws {
        let count = (attempts[attempt] ?? 0) + 1, name = compiled.steps[attempt.step].name
        attempts[attempt] = count
        if attempt.work != .bar {
            let what: JournalEntry.What = attempt.work == .run ? .failed : .undoFailed
            try await engine.store.append([JournalEntry(what: what, step: name, attempt: count, error: error.json)], to: saga)
        }
        let isLast = attempt.work != .bar && count >= retry.attempts
        if isLast || (attempt.work == .run && halted.contains(attempt.step)) {
            cause = cause ?? error
            return try await perform(machine.on(attempt.work == .run ? .failed(attempt.step) : .undoFailed(attempt.step)), &group)
        }
        // A service knows when to ask again, within reason.
        pause(attempt, for: max(retry.delay(after: count), min(time ?? .zero, Self.longestAsked)), "\(name): \(error.code)", &group)
    }

    // MARK: Steps

    private mutating func start(_ attempt: Attempt, _ group: inout Group) async throws {
        // Nothing that it would do now could do harm; it would only be in vain.
        if holding.isLost { throw SagaStore.Fenced() }
        // Another step has failed while this one was about to begin.
        if attempt.work == .run && halted.contains(attempt.step) { return try await perform(machine.on(.failed(attempt.step)), &group) }
        let step = attempt.step, this = compiled.steps[step], record = record(step), engine = engine, saga = saga
        do {
            if attempt.work != .bar { try await loadOutputs(for: step, withOwn: attempt.work == .undo) }
        } catch let error as TandemError {
            return try await again(attempt, error, .persistent, &group)
        }
        var scope = scope
        let start = ContinuousClock.now
        switch attempt.work {
        case .bar:
            guard case .sql(let action) = this.action else { return }
            inFlight += 1
            group.addTask { .barred(step, try await Self.result { try await record.bar(on: action.node, engine.cluster) }) }
        case .undo:
            scope.own = scope.outputs[this.name]
            let values = scope
            inFlight += 1
            group.addTask { .undid(step, try await Self.undo(this, record, values, engine, saga), start: start) }
        case .run:
            let isFirst = saga.isFresh && attempts[attempt] == nil, resolved = resolved[step], values = scope
            let age = started[step]
            switch this.action {
            case .timer(let time): return try await wait(attempt, for: time, age, nil, &group)
            case .signal(let name, let timeout): return try await wait(attempt, for: timeout, age, name, &group)
            case .http where age == nil && resolved == nil:
                try await engine.store.append([JournalEntry(what: .started, step: this.name)], to: saga)
                started[step] = .zero
            case .sql, .http: break
            }
            inFlight += 1
            group.addTask { .did(step, try await Self.run(this, record, values, engine, isFirst: isFirst, resolved: resolved), start: start) }
        }
    }

    /// A durable pause, or one until a signal comes.
    private mutating func wait(_ attempt: Attempt, for time: Duration?, _ age: Duration?, _ signal: String?, _ group: inout Group) async throws {
        let name = compiled.steps[attempt.step].name
        if let output = resolved[attempt.step] { return try await did(attempt.step, .done(output), .now, &group) }
        if let signal, let data = try await engine.store.definitely({ try await engine.store.signal(signal, of: saga.id) }) {
            return try await did(attempt.step, .done(data), .now, &group)
        }
        if age == nil {
            try await engine.store.append([JournalEntry(what: .started, step: name)], to: saga)
            started[attempt.step] = .zero
        }
        let left = time.map { $0 - (age ?? .zero) }
        if let left, left <= .zero {
            guard let signal else { return try await did(attempt.step, .done("null"), .now, &group) }
            let error = TandemError(.deadlineExceeded, "the signal \(signal) did not come in time", nextStep: "send it with `tandem saga signal`")
            return try await did(attempt.step, .failed(error), .now, &group)
        }
        // What it waited until now counts when it is run again.
        started[attempt.step] = time
        pause(attempt, for: left, signal.map { "signal \($0)" } ?? "\(name): time", &group)
    }

    /// The outputs that a step names and that this worker has not seen.
    private mutating func loadOutputs(for step: Int, withOwn: Bool) async throws {
        for source in compiled.steps[step].sources + (withOwn ? [step] : [])
        where scope.outputs[compiled.steps[source].name] == nil && (source != step || withOwn) {
            var output: String?
            // One that an operator has skipped may be barred.
            if case .sql(let action) = compiled.steps[source].action {
                do { output = try await action.output(record(source)) } catch is Barred {}
            }
            keep(output ?? "null", of: source)
        }
    }

    private static func run(
        _ step: CompiledSaga.Step, _ record: StepRecord, _ scope: SagaScope, _ engine: SagaEngine, isFirst: Bool, resolved: String?
    ) async throws -> StepOutcome {
        await Failpoints.pass(.sagaBeforeStep)
        do {
            let outcome: StepOutcome
            switch step.action {
            case .sql(let action):
                if let resolved {
                    outcome = .done(try await action.resolve(record, resolved))
                } else {
                    outcome = .done(try await action.run(record, scope, isFirst: isFirst))
                }
            case .http(let action, _):
                if let resolved {
                    outcome = .done(resolved)
                } else {
                    outcome = try await action.send(try client(engine), key: "\(record.saga)/\(step.name)/do", scope, timeout: step.definition.timeout)
                }
            case .timer, .signal: outcome = .done("null")
            }
            await Failpoints.pass(.sagaAfterStep)
            // Behind the pivot nothing fails for good.
            if case .failed(let error) = outcome, step.definition.isRetriable { return .retry(error) }
            return outcome
        } catch is Barred {
            return .barred
        } catch let error as TandemError {
            return error.outcome(step.retry, isPersistent: step.definition.isRetriable)
        }
    }

    private static func undo(
        _ step: CompiledSaga.Step, _ record: StepRecord, _ scope: SagaScope, _ engine: SagaEngine, _ saga: SagaRecord
    ) async throws -> StepOutcome {
        await Failpoints.pass(.sagaBeforeUndo)
        do {
            var outcome = StepOutcome.done("null")
            switch step.action {
            case .sql(let action): try await action.undo(record, scope)
            case .http(_, let undo?):
                outcome = try await undo.send(try client(engine), key: "\(saga.id)/\(step.name)/undo", scope, timeout: step.definition.timeout)
            case .http, .timer, .signal: break
            }
            await Failpoints.pass(.sagaAfterUndo)
            return outcome
        } catch let error as TandemError {
            return .retry(error)
        }
    }

    private static func client(_ engine: SagaEngine) throws -> any HTTPStepClient {
        guard let client = engine.options.http else {
            throw TandemError(.configurationInvalid, "this worker sends no requests", nextStep: "give SagaOptions.http a client, or run `tandem saga run`")
        }
        return client
    }

    private static func result<Value>(_ body: () async throws -> Value) async throws -> Result<Value, TandemError> {
        do { return .success(try await body()) } catch let error as TandemError { return .failure(error) }
    }
}

extension CompiledSaga.Step {
    /// Whether its record is written with its effect.
    var isRecorded: Bool {
        switch action {
        case .sql: true
        case .http, .timer, .signal: false
        }
    }

    /// How it is tried again.
    var retry: SagaDefinition.Retry { definition.isRetriable && definition.retry == SagaDefinition.Retry() ? .persistent : definition.retry }
}
