import Foundation

/// `tandem-demo`: moves money between three databases, kills one of them and then a coordinator in the middle, and counts.
@main
struct Demo {
    /// How long the whole demonstration may take.
    private static let limit = Duration.seconds(90)

    static func main() async {
        guard let program = program(CommandLine.arguments) else {
            FileHandle.standardError.write(Data("usage: tandem-demo --tandem PATH, where PATH is the command `tandem`\n".utf8))
            exit(2)
        }
        let code = await run(Story(tandem: program, screen: Screen()))
        // Without the handlers of `exit`: OpenSSL's would free what a thread of the cluster may still use.
        fflush(nil)
        _exit(code)
    }

    /// Tells the story, and answers with the exit code.
    private static func run(_ story: Story) async -> Int32 {
        let telling = Task { try await within(limit) { try await story.tell() } }
        let signals = [SIGINT, SIGTERM].map { ending($0) { telling.cancel() } }
        defer { for signal in signals { signal.cancel() } }
        do {
            return try await telling.value ? 0 : 1
        } catch  where telling.isCancelled {
            story.screen.say("interrupted; the servers are stopped and their data is removed")
            return 130
        } catch {
            story.screen.say("FAILED: \(error)")
            return 1
        }
    }

    /// Calls `end` when the signal comes. A handler of its own, unlike an ignored signal, is not passed on to the programs that are started.
    private static func ending(_ number: Int32, _ end: @escaping @Sendable () -> Void) -> any DispatchSourceSignal {
        signal(number) { _ in }
        let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
        source.setEventHandler(handler: end)
        source.resume()
        return source
    }

    /// The `tandem` command to run, as `--tandem PATH` names it.
    private static func program(_ arguments: [String]) -> String? {
        guard arguments.count == 3, arguments[1] == "--tandem", FileManager.default.isExecutableFile(atPath: arguments[2]) else {
            return nil
        }
        return URL(fileURLWithPath: arguments[2]).standardizedFileURL.path
    }
}

/// Something that the demonstration says must be so, and is not.
struct Broken: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// Runs `body`, and cancels it when the time is over.
func within<Value: Sendable>(_ limit: Duration, _ body: @escaping @Sendable () async throws -> Value) async throws -> Value {
    try await withThrowingTaskGroup(of: Value?.self) { group in
        group.addTask { try await body() }
        group.addTask {
            try? await Task.sleep(for: limit)
            return nil
        }
        defer { group.cancelAll() }
        guard let first = try await group.next(), let value = first else { throw Broken("it took longer than \(limit)") }
        return value
    }
}

/// Waits until something is so; at the deadline it is a failure, never a guess.
func wait(for what: String, within limit: Duration, until isSo: () async throws -> Bool) async throws {
    let deadline = ContinuousClock.now + limit
    while try await !isSo() {
        guard ContinuousClock.now < deadline else { throw Broken("\(what): did not happen within \(limit)") }
        try await Task.sleep(for: .milliseconds(20))
    }
}
