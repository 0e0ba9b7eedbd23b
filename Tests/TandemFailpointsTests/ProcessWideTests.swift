import Glibc
import Synchronization
import Testing

@testable import TandemFailpoints

/// Each test has a process of its own: what is armed for a whole process would reach the other tests.
@Suite("What is armed for the whole process", .timeLimit(.minutes(1)))
struct ProcessWideTests {
    @Test("arm reaches every task, and disarmAll ends it")
    func armAndDisarm() async {
        await #expect(processExitsWith: .success) {
            try Failpoints.arm("after_prepare=error")
            let failure = await Task { try await Failpoints.reach(.afterPrepare) }.result
            guard case .failure(let error) = failure, error as? FailpointError == .injected(.afterPrepare) else { exit(1) }
            guard Failpoints.hits == 1, Failpoints.armed.load(ordering: .relaxed) == 1 else { exit(2) }
            Failpoints.disarmAll()
            Failpoints.disarmAll()
            try await Failpoints.reach(.afterPrepare)
            guard Failpoints.hits == 0, Failpoints.armed.load(ordering: .relaxed) == 0 else { exit(3) }
        }
    }

    @Test("a second arm takes the place of the first")
    func armAgain() async {
        await #expect(processExitsWith: .success) {
            try Failpoints.arm("after_prepare=error")
            try Failpoints.arm("before_decision=off")
            try await Failpoints.reach(.afterPrepare)
            guard Failpoints.hits == 1, Failpoints.armed.load(ordering: .relaxed) == 1 else { exit(1) }
        }
    }

    @Test("a specification that is refused changes nothing")
    func refused() async {
        await #expect(processExitsWith: .success) {
            try Failpoints.arm("after_prepare=off")
            guard (try? Failpoints.arm("after_lunch=off")) == nil else { exit(1) }
            try await Failpoints.reach(.afterPrepare)
            guard Failpoints.hits == 1 else { exit(2) }
        }
    }

    @Test("what is armed for a task hides what is armed for the process")
    func innerHidesOuter() async {
        await #expect(processExitsWith: .success) {
            try Failpoints.arm("after_prepare=error")
            try await Failpoints.withArmed("before_decision=off") { try await Failpoints.reach(.afterPrepare) }
            guard Failpoints.hits == 0, Failpoints.armed.load(ordering: .relaxed) == 1 else { exit(1) }
        }
    }

    @Test("disarmAll lets go whoever is held or waits for a hold")
    func disarmReleases() async {
        await #expect(processExitsWith: .success) {
            try Failpoints.arm("before_decision=hold")
            let held = Task { try await Failpoints.reach(.beforeDecision) }
            guard await Failpoints.held(.beforeDecision) else { exit(1) }
            let watching = Task { await Failpoints.held(.afterDecision) }
            Failpoints.disarmAll()
            try await held.value
            guard await !watching.value else { exit(2) }
        }
    }

    @Test("kill ends the process where the point is reached")
    func kill() async {
        await #expect(processExitsWith: .signal(SIGKILL)) {
            try Failpoints.arm("after_prepare=1*off->kill")
            try await Failpoints.reach(.afterPrepare)
            try await Failpoints.reach(.afterPrepare)
            exit(0)
        }
    }
}
