package import Synchronization

/// Places where a test can make the program stop, fail or wait. Always compiled in; nothing happens until code arms one.
///
/// What is armed with ``arm(_:)`` holds for the whole process, as a crash test needs it. ``withArmed(_:_:)`` arms for one task and its
/// children, so that tests that run side by side in one process do not meet each other's failpoints. Where both are armed, a task sees
/// the inner one only. The environment arms nothing: the command reads TANDEM_FAILPOINTS itself and calls ``arm(_:)``.
package enum Failpoints {
    /// How many plans are armed. Zero, nearly always, and then all that a failpoint costs is to read it.
    @usableFromInline package static let armed = Atomic<Int>(0)

    private static let processWide = Mutex<FailpointPlan?>(nil)

    @TaskLocal private static var scoped: FailpointPlan?

    private static var current: FailpointPlan? {
        scoped ?? processWide.withLock { $0 }
    }

    /// Whether anything is armed: a place with several points to reach asks once.
    @inlinable package static var isArmed: Bool { armed.load(ordering: .relaxed) != 0 }

    /// Marks that the protocol has come to `point`, and does there what is armed.
    ///
    /// Relaxed ordering is enough: whoever arms and then starts or calls the code under test has ordered the two already.
    @inlinable
    @inline(__always)
    package nonisolated(nonsending) static func reach(_ point: Failpoint) async throws {
        guard armed.load(ordering: .relaxed) != 0 else { return }
        try await hit(point)
    }

    /// A point where an armed error means nothing: only what ends or holds the process acts here.
    @inlinable
    @inline(__always)
    package nonisolated(nonsending) static func pass(_ point: Failpoint) async {
        guard armed.load(ordering: .relaxed) != 0 else { return }
        try? await hit(point)
    }

    @usableFromInline
    @inline(never)
    package nonisolated(nonsending) static func hit(_ point: Failpoint) async throws {
        try await current?.hit(point)
    }

    /// Arms for the whole process what `specification` says, in place of what was armed so.
    ///
    /// For example `after_prepare=2*off->kill;before_decision=error`, or `*=7*off->kill`; ``FailpointSpecification`` has the grammar.
    /// The count of hits begins at zero. Throws ``FailpointError/unreadable(_:reason:)``, and then nothing changes.
    package static func arm(_ specification: String) throws {
        replace(with: FailpointPlan(try FailpointSpecification(specification)))
    }

    /// Disarms what ``arm(_:)`` armed; tasks that are held go on.
    package static func disarmAll() {
        replace(with: nil)
    }

    /// Arms what `specification` says while `body` runs, for this task and its children only; those that are held at the end go on.
    package nonisolated(nonsending) static func withArmed<Value>(
        _ specification: String, _ body: nonisolated(nonsending) () async throws -> Value
    ) async throws -> Value {
        let plan = FailpointPlan(try FailpointSpecification(specification))
        armed.add(1, ordering: .relaxed)
        defer {
            armed.subtract(1, ordering: .relaxed)
            plan.finish()
        }
        return try await $scoped.withValue(plan) { try await body() }
    }

    /// Hits of all points together since this task's failpoints were armed; 0 where none are.
    package static var hits: Int {
        current?.hits ?? 0
    }

    /// Waits until a task is held at `point`, so that a test knows where it is without a clock.
    ///
    /// Returns at once where one is held already. False means that nobody is: nothing is armed any more, or the waiting task is cancelled.
    @discardableResult
    package nonisolated(nonsending) static func held(_ point: Failpoint) async -> Bool {
        await current?.held(point) ?? false
    }

    /// Lets all tasks go on that are held at `point` now, and returns their number; those that come later are held again.
    @discardableResult
    package static func release(_ point: Failpoint) -> Int {
        current?.release(point) ?? 0
    }

    private static func replace(with plan: FailpointPlan?) {
        let previous = processWide.withLock { current in
            defer { current = plan }
            return current
        }
        if plan != nil { armed.add(1, ordering: .relaxed) }
        if previous != nil { armed.subtract(1, ordering: .relaxed) }
        previous?.finish()
    }
}
