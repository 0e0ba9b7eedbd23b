public import Foundation
import TandemCore

/// What no database records: calls of services, waits, and values that have to stay the same.
extension SagaContext {
    /// Calls something outside: it may happen more than once, always under the same key.
    ///
    /// - Parameters:
    ///   - name: the step's name.
    ///   - retry: how often and how fast it is tried again, whatever the error is: nobody knows what became of a call that failed.
    ///   - refuses: whether an error means that it was refused for good and has not happened; the saga then turns back.
    ///   - body: the call; it gets the key, which a service takes for one request (`Idempotency-Key`).
    ///   - undo: what undoes it, with another key that is always the same, and what the call returned: `nil` where nobody knows whether it happened.
    /// - Returns: what the call returned, now or before.
    /// - Throws: what ends the function; let it out.
    @discardableResult
    public func call<Value: Codable & Sendable>(
        _ name: String, retry: SagaDefinition.Retry = .init(), refuses: (any Error) -> Bool = { _ in false }, _ body: (_ key: String) async throws -> Value,
        undo: (@Sendable (_ key: String, Value?) async throws -> Void)?
    ) async throws -> Value {
        try begin(name)
        defer { end(isDone: true) }
        let key = "\(id)/\(name)/do", undoKey = "\(id)/\(name)/undo"
        func addUndo(_ output: String?) {
            guard let undo else { return add(Undo(step: name, nodes: [], run: nil)) }
            add(Undo(step: name, nodes: []) { try await undo(undoKey, try output.flatMap { $0 == "null" ? nil : try SagaJSON.decode(Value.self, $0) }) })
        }
        if let output = outputs[name] ?? resolved[name] {
            addUndo(output)
            return try SagaJSON.decode(Value.self, output)
        }
        if mode == .barring {
            // What may have been sent may have happened.
            if started[name] != nil { addUndo(nil) }
            throw unwind(.failed(TandemError(.sagaStepBarred, "the step \(name) is barred")))
        }
        try await expectNothingElse(name)
        if started[name] == nil { try await engine.store.append([JournalEntry(what: .started, step: name)], to: record) }
        var refused: (any Error)?
        let output = try await attempt(name, retry, isPersistent: true) { _ in
            do { return try SagaJSON.encode(try await body(key)) } catch let error where !(error is CancellationError) && refuses(error) {
                refused = error
                return ""
            }
        }
        if let refused {
            throw unwind(
                .failed(refused as? TandemError ?? TandemError(.sagaStepFailed, "the step \(name) was refused: \(refused)", phase: "step", cause: refused)))
        }
        try await keep(output, name, .done)
        addUndo(output)
        return try SagaJSON.decode(Value.self, output)
    }

    private func keep(_ output: String, _ name: String, _ what: JournalEntry.What) async throws {
        do { try KeptJSON.checkSize(output, "the output of the step \(name)") } catch { throw unwind(.failed(error)) }
        try await engine.store.append([JournalEntry(what: what, step: name, output: output)], to: record)
    }

    /// A value that is made once and stays the same in every run of the function.
    ///
    /// - Parameters:
    ///   - name: the value's name, one for each value of the saga.
    ///   - make: makes it.
    /// - Returns: what was made first.
    /// - Throws: what `make` throws, and what ends the function.
    public func value<Value: Codable & Sendable>(_ name: String, _ make: () async throws -> Value) async throws -> Value {
        try begin(name)
        defer { end(isDone: true) }
        if let output = outputs[name] { return try SagaJSON.decode(Value.self, output) }
        if mode == .barring { throw unwind(.failed(TandemError(.sagaStepBarred, "the value \(name) was never made"))) }
        try await expectNothingElse(name)
        let value = try await make()
        try await keep(try SagaJSON.encode(value), name, .value)
        return value
    }

    /// The time when the saga asked for it first.
    ///
    /// - Parameter name: the value's name.
    /// - Returns: the same time in every run, to the millisecond.
    /// - Throws: what ends the function.
    public func now(_ name: String = "now") async throws -> Date {
        Date(timeIntervalSince1970: Double(try await value(name) { Int64(Date().timeIntervalSince1970 * 1000) }) / 1000)
    }

    /// A random UUID.
    ///
    /// - Parameter name: the value's name.
    /// - Returns: the same one in every run.
    /// - Throws: what ends the function.
    public func uuid(_ name: String) async throws -> UUID { try await value(name) { UUID() } }

    /// A random number.
    ///
    /// - Parameters:
    ///   - name: the value's name.
    ///   - range: where it lies.
    /// - Returns: the same one in every run.
    /// - Throws: what ends the function.
    public func random(_ name: String, in range: ClosedRange<Int>) async throws -> Int { try await value(name) { Int.random(in: range) } }

    // MARK: Waiting

    /// Waits; for longer than a moment nobody runs the saga meanwhile.
    ///
    /// - Parameters:
    ///   - name: the step's name.
    ///   - time: how long, from when the saga came here first.
    /// - Throws: what ends the function; let it out.
    public func sleep(_ name: String, for time: Duration) async throws {
        try begin(name)
        defer { end(isDone: true) }
        if outputs[name] ?? resolved[name] != nil { return }
        if mode == .barring { throw unwind(.failed(TandemError(.sagaStepBarred, "the wait \(name) is not over"))) }
        if started[name] == nil {
            try await expectNothingElse(name)
            try await engine.store.append([JournalEntry(what: .started, step: name)], to: record)
        }
        let left = time - (started[name] ?? .zero)
        if left > SagaRun.patience { throw unwind(.released(after: left, waitsFor: "\(name): time")) }
        if left > .zero { try await Task.sleep(for: left) }
        try await keep("null", name, .done)
    }

    /// Waits until somebody sends a signal (``Sagas/signal(_:to:data:)``, `tandem saga signal`). Nobody runs the saga meanwhile.
    ///
    /// - Parameters:
    ///   - name: the signal's name.
    ///   - type: of its data.
    ///   - limit: how long, from when the saga came here first; for ever by default. Then the saga turns back.
    /// - Returns: the signal's data.
    /// - Throws: what ends the function; let it out.
    public func signal<Value: Codable & Sendable>(_ name: String, as type: Value.Type, within limit: Duration? = nil) async throws -> Value {
        try begin(name)
        defer { end(isDone: true) }
        if let output = outputs[name] ?? resolved[name] { return try SagaJSON.decode(type, output) }
        if mode == .barring { throw unwind(.failed(TandemError(.sagaStepBarred, "the signal \(name) has not come"))) }
        if started[name] == nil {
            try await expectNothingElse(name)
            try await engine.store.append([JournalEntry(what: .started, step: name)], to: record)
        }
        if let data = try await engine.store.definitely({ try await engine.store.signal(name, of: id) }) {
            try await keep(data, name, .done)
            return try SagaJSON.decode(type, data)
        }
        let left = limit.map { $0 - (started[name] ?? .zero) }
        if let left, left <= .zero {
            throw unwind(.failed(TandemError(.deadlineExceeded, "the signal \(name) did not come in time", nextStep: "send it with `tandem saga signal`")))
        }
        throw unwind(.released(after: left, waitsFor: "signal \(name)"))
    }
}
