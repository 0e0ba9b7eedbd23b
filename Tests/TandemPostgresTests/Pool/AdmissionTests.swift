import TandemCore
import TandemTestSupport
import Testing

@testable import TandemPostgres

@Suite("Admission")
struct AdmissionTests {
    private let admission = Admission(reactor: testReactor, places: ["n1": 2, "n2": 1])

    private func enter(_ nodes: [NodeName], _ limit: Duration = .seconds(60)) async throws {
        try await admission.enter(nodes, deadline: .now + limit)
    }

    private func leave(_ nodes: [NodeName]) async {
        let admission = admission
        await confined(to: testReactor) { admission.leave(nodes) }
    }

    private func queue() async -> Int {
        let admission = admission
        return await confined(to: testReactor) { admission.queueLength }
    }

    @Test("lets in as many as every node concerned has places for")
    func places() async throws {
        try await enter(["n1", "n2"])
        try await enter(["n1"])
        let third = Task { try await enter(["n1"]) }
        try await wait(for: "the third") { await queue() == 1 }
        await leave(["n1"])
        try await third.value
    }

    @Test("keeps the order of arrival, also where somebody behind would fit")
    func order() async throws {
        try await enter(["n2"])
        let entered = Locked<[String]>([])
        let first = Task {
            try await enter(["n1", "n2"])
            entered.withLock { $0.append("first") }
            await leave(["n1", "n2"])
        }
        try await wait(for: "the first") { await queue() == 1 }
        let second = Task {
            try await enter(["n1"])
            entered.withLock { $0.append("second") }
            await leave(["n1"])
        }
        try await wait(for: "the second") { await queue() == 2 }
        #expect(entered.withLock { $0.isEmpty })
        await leave(["n2"])
        try await first.value
        try await second.value
        #expect(entered.withLock { Set($0) } == ["first", "second"])
    }

    @Test("who waits too long is told how long the line is")
    func deadline() async throws {
        try await enter(["n2"])
        let patient = Task { try await enter(["n2"]) }
        try await wait(for: "the waiter") { await queue() == 1 }
        let error = await #expect(throws: TandemError.self) { try await enter(["n2"], .milliseconds(50)) }
        #expect(error?.code == .admissionTimeout && error?.isRetrySafe == true && error?.effect == TandemError.Effect.none)
        #expect(error?.message.contains("1 more wait") == true)
        await leave(["n2"])
        try await patient.value
    }

    @Test("who is cancelled leaves the line, and those behind move up")
    func cancellation() async throws {
        try await enter(["n2"])
        let first = Task { try await enter(["n2"]) }
        try await wait(for: "the first") { await queue() == 1 }
        let second = Task { try await enter(["n1"]) }
        try await wait(for: "the second") { await queue() == 2 }
        first.cancel()
        await #expect(throws: CancellationError.self) { try await first.value }
        try await second.value
        #expect(await queue() == 0)
    }
}
