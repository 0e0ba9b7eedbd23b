import Glibc
import Synchronization
import Testing

@testable import TandemFailpoints

@Suite("What an armed failpoint does", .timeLimit(.minutes(1)))
struct FailpointsTests {
    @Test("error is thrown where the point is reached, and nowhere else")
    func error() async throws {
        try await Failpoints.withArmed("before_decision=error") {
            try await Failpoints.reach(.afterPrepare)
            await #expect(throws: FailpointError.injected(.beforeDecision)) { try await Failpoints.reach(.beforeDecision) }
        }
    }

    @Test("the n-th point that is reached fails, whichever it is")
    func nth() async throws {
        try await Failpoints.withArmed("*=2*off->1*error") {
            try await Failpoints.reach(.afterBegin)
            try await Failpoints.reach(.beforePrepare)
            await #expect(throws: FailpointError.injected(.afterPrepare)) { try await Failpoints.reach(.afterPrepare) }
            try await Failpoints.reach(.afterPrepare)
            #expect(Failpoints.hits == 4)
        }
    }

    @Test("hits of tasks that run side by side are all counted")
    func concurrentHits() async throws {
        try await Failpoints.withArmed("*=off") {
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 0..<200 { group.addTask { try await Failpoints.reach(.afterPrepare) } }
                try await group.waitForAll()
            }
            #expect(Failpoints.hits == 200)
        }
    }

    @Test("what one test arms is not seen by another task")
    func isolation() async throws {
        let outside = Task { () -> Int in
            try await Failpoints.reach(.afterPrepare)
            return Failpoints.hits
        }
        try await Failpoints.withArmed("after_prepare=error") {
            _ = try await outside.value
            #expect(Failpoints.hits == 0)
        }
        let hits = try await outside.value
        #expect(hits == 0)
    }

    @Test("a held task goes on when it is released, and not before")
    func hold() async throws {
        try await Failpoints.withArmed("before_decision=hold") {
            let steps = Steps()
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    await steps.append("reached")
                    try await Failpoints.reach(.beforeDecision)
                    await steps.append("went on")
                }
                #expect(await Failpoints.held(.beforeDecision))
                #expect(await steps.all == ["reached"])
                await steps.append("released")
                #expect(Failpoints.release(.beforeDecision) == 1)
                try await group.waitForAll()
            }
            #expect(await steps.all == ["reached", "released", "went on"])
        }
    }

    @Test("release lets all go that are held at that point, and nobody at another one")
    func releaseOnePoint() async throws {
        try await Failpoints.withArmed("before_decision=hold;after_decision=hold") {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await Failpoints.reach(.beforeDecision) }
                group.addTask { try await Failpoints.reach(.afterDecision) }
                await Failpoints.held(.beforeDecision)
                await Failpoints.held(.afterDecision)
                #expect(Failpoints.release(.beforeDecision) == 1)
                try await group.next()
                #expect(await Failpoints.held(.afterDecision))
                #expect(Failpoints.release(.beforeDecision) == 0)
                #expect(Failpoints.release(.afterDecision) == 1)
                try await group.waitForAll()
            }
        }
    }

    @Test("a hold with a count lets the later hits pass")
    func countedHold() async throws {
        try await Failpoints.withArmed("before_decision=1*hold") {
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask { try await Failpoints.reach(.beforeDecision) }
                await Failpoints.held(.beforeDecision)
                try await Failpoints.reach(.beforeDecision)
                Failpoints.release(.beforeDecision)
                try await group.waitForAll()
            }
        }
    }

    @Test("whoever waits for a hold is woken when it begins")
    func heldBeforeReached() async throws {
        try await Failpoints.withArmed("before_forget=hold") {
            try await withThrowingTaskGroup(of: Bool.self) { group in
                for _ in 0..<3 { group.addTask { await Failpoints.held(.beforeForget) } }
                group.addTask {
                    try await Failpoints.reach(.beforeForget)
                    return true
                }
                await Failpoints.held(.beforeForget)
                for _ in 0..<3 {
                    let isHeld = try await group.next()
                    #expect(isHeld == true)
                }
                #expect(Failpoints.release(.beforeForget) == 1)
            }
        }
    }

    @Test("a cancelled task is held no longer, and hears of it only where it looks")
    func cancelledHold() async throws {
        try await Failpoints.withArmed("before_decision=hold") {
            let task = Task { () -> Bool in
                try await Failpoints.reach(.beforeDecision)
                return Task.isCancelled
            }
            await Failpoints.held(.beforeDecision)
            task.cancel()
            let isCancelled = try await task.value
            #expect(isCancelled)
            #expect(Failpoints.release(.beforeDecision) == 0)
        }
    }

    @Test("a task that is cancelled already is not held, and waits for no hold")
    func cancelledBefore() async throws {
        try await Failpoints.withArmed("before_decision=hold") {
            let task = Task { () -> Bool in
                withUnsafeCurrentTask { $0?.cancel() }
                try await Failpoints.reach(.beforeDecision)
                return await Failpoints.held(.afterDecision)
            }
            let isHeld = try await task.value
            #expect(!isHeld)
        }
    }

    @Test("a cancelled delay is over at once, without an error")
    func cancelledDelay() async throws {
        try await Failpoints.withArmed("before_decision=delay(60000)") {
            let task = Task { () -> Bool in
                withUnsafeCurrentTask { $0?.cancel() }
                try await Failpoints.reach(.beforeDecision)
                return Task.isCancelled
            }
            let isCancelled = try await task.value
            #expect(isCancelled)
        }
    }

    @Test("the end of the scope lets go whoever is held in it")
    func endOfScope() async throws {
        let task = try await Failpoints.withArmed("before_decision=hold") {
            let task = Task { try await Failpoints.reach(.beforeDecision) }
            await Failpoints.held(.beforeDecision)
            return task
        }
        try await task.value
    }

    @Test("a task stays on its actor at a failpoint")
    @MainActor
    func isolationIsKept() async throws {
        try await Failpoints.withArmed("before_decision=delay(0)") {
            MainActor.assertIsolated()
            try await Failpoints.reach(.beforeDecision)
            MainActor.assertIsolated()
        }
    }

    @Test("nobody is held where nothing is armed")
    func nothingArmed() async {
        await #expect(processExitsWith: .success) {
            guard Failpoints.hits == 0, await !Failpoints.held(.beforeDecision), Failpoints.release(.beforeDecision) == 0 else { exit(1) }
            guard Failpoints.armed.load(ordering: .relaxed) == 0 else { exit(2) }
        }
    }
}

/// What happened, in order.
private actor Steps {
    private(set) var all: [String] = []

    func append(_ step: String) {
        all.append(step)
    }
}
