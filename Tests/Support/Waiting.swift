package import TandemCore
package import TandemPostgres

/// Something a test waited for that did not come.
package struct TestFailure: Error, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }
}

/// The thread that the tests' own connections run on.
package let testReactor = Reactor(name: "tests")

/// Looks again and again until something holds, and fails when it does not come about.
package func wait(for what: String, within limit: Duration = .seconds(30), until holds: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !holds() {
        guard ContinuousClock.now < deadline else { throw TestFailure("\(what): did not happen within \(limit)") }
        try Task.checkCancellation()
        await tick()
    }
}

/// The next turn of a poll.
package func tick() async {
    await withCheckedContinuation { continuation in
        testReactor.execute { testReactor.schedule(at: .now + .milliseconds(5)) { continuation.resume() } }
    }
}

/// Runs work while the body runs, and ends it then; an error of either comes out.
package func running<Value>(_ work: @escaping @Sendable () async throws -> Void, _ body: () async throws -> Value) async throws -> Value {
    let task = Task { try await work() }
    do {
        let value = try await body()
        task.cancel()
        try await task.value
        return value
    } catch {
        task.cancel()
        _ = await task.result
        throw error
    }
}

/// Runs on the thread to which a connection, a pool or a queue is confined.
package func confined<Value: Sendable>(to reactor: Reactor, _ body: @escaping @Sendable () -> Value) async -> Value {
    await withCheckedContinuation { continuation in
        reactor.execute { continuation.resume(returning: body()) }
    }
}

/// Lets the tests of one process that disturb something in common go one after the other.
package actor Gate {
    private var isTaken = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    package init() {}

    package func enter() async {
        if !isTaken {
            isTaken = true
            return
        }
        await withCheckedContinuation { waiting.append($0) }
    }

    package func leave() {
        if waiting.isEmpty { isTaken = false } else { waiting.removeFirst().resume() }
    }
}

/// The error of the library that a body throws; `nil` where it throws none.
package func refusal(_ body: () async throws -> some Any) async -> TandemError? {
    do { _ = try await body() } catch { return error as? TandemError }
    return nil
}
